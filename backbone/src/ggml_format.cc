#include "ggml_format.h"

#include <array>
#include <optional>

#include "alluvium/core/error.h"

namespace alluvium::backbone {
namespace {

struct GgmlFormat {
  uint32_t number;
  const char* name;
  std::optional<StorageFormat> ours;
};

const std::array kFormats = {
    GgmlFormat{0, "F32", StorageFormat::f32},    GgmlFormat{1, "F16", StorageFormat::f16},
    GgmlFormat{2, "Q4_0", StorageFormat::q4_0},  GgmlFormat{3, "Q4_1", StorageFormat::q4_1},
    GgmlFormat{6, "Q5_0", std::nullopt},         GgmlFormat{7, "Q5_1", std::nullopt},
    GgmlFormat{8, "Q8_0", StorageFormat::q8_0},  GgmlFormat{9, "Q8_1", std::nullopt},
    GgmlFormat{10, "Q2_K", std::nullopt},        GgmlFormat{11, "Q3_K", std::nullopt},
    GgmlFormat{12, "Q4_K", std::nullopt},        GgmlFormat{13, "Q5_K", std::nullopt},
    GgmlFormat{14, "Q6_K", std::nullopt},        GgmlFormat{15, "Q8_K", std::nullopt},
    GgmlFormat{16, "IQ2_XXS", std::nullopt},     GgmlFormat{17, "IQ2_XS", std::nullopt},
    GgmlFormat{18, "IQ3_XXS", std::nullopt},     GgmlFormat{19, "IQ1_S", std::nullopt},
    GgmlFormat{20, "IQ4_NL", std::nullopt},      GgmlFormat{21, "IQ3_S", std::nullopt},
    GgmlFormat{22, "IQ2_S", std::nullopt},       GgmlFormat{23, "IQ4_XS", std::nullopt},
    GgmlFormat{24, "I8", std::nullopt},          GgmlFormat{25, "I16", std::nullopt},
    GgmlFormat{26, "I32", std::nullopt},         GgmlFormat{27, "I64", StorageFormat::i64},
    GgmlFormat{28, "F64", std::nullopt},         GgmlFormat{29, "IQ1_M", std::nullopt},
    GgmlFormat{30, "BF16", StorageFormat::bf16}, GgmlFormat{34, "TQ1_0", std::nullopt},
    GgmlFormat{35, "TQ2_0", std::nullopt},       GgmlFormat{39, "MXFP4", std::nullopt},
    GgmlFormat{40, "NVFP4", std::nullopt},
};

const GgmlFormat* find_format(uint32_t number) {
  for (const GgmlFormat& format : kFormats) {
    if (format.number == number) {
      return &format;
    }
  }
  return nullptr;
}

}  // namespace

std::string ggml_format_name(uint32_t number) {
  const GgmlFormat* const format = find_format(number);
  return format == nullptr ? fmt::format("format {}", number) : format->name;
}

StorageFormat storage_format_of_ggml(uint32_t number, const std::string& tensor) {
  const GgmlFormat* const format = find_format(number);
  if (format == nullptr || !format->ours) {
    throw NotSupported(fmt::format(
        "tensor '{}' is stored as {}; supported are F32, F16, BF16, Q8_0, Q4_0, Q4_1, I64", tensor,
        ggml_format_name(number)));
  }
  return *format->ours;
}

}  // namespace alluvium::backbone
