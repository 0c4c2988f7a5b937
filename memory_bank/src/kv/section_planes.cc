#include "kv/section_planes.h"

#include <c10/util/Half.h>

#include "kv/quantise.h"
#include "kv/residual.h"
#include "kv/scale_table.h"

namespace alluvium::memory_bank {
namespace {

// Places of a kind among those of keys or of values.
constexpr std::size_t kCodes = 0;
constexpr std::size_t kWideScales = 1;  // low bytes, high bytes
constexpr std::size_t kWideMinima = 3;
constexpr std::size_t kFactors = 5;
constexpr std::size_t kNarrowScales = 7;
constexpr std::size_t kNarrowMinima = 8;
constexpr std::size_t kLadders = 9;
constexpr std::size_t kPlain = 10;  // to 4 bytes
constexpr std::size_t kKinds = 14;
static_assert(kPlanes == 2 * kKinds);

/// Numbers of one plane: codes packed from `at` on, or bytes, each `stride` after the last.
struct Run {
  std::size_t plane;
  std::size_t at;
  std::size_t count;
  std::size_t stride = 1;
  int64_t bits = 8;
};

/// Calls visit(Run) for all keys and values of a section, in the order of its bytes. The layout is
/// that of layer_section, quantise, scale_table and residual.
template <class Visit>
class SectionWalk {
 public:
  SectionWalk(const SectionShape& shape, Visit visit) : shape_(shape), visit_(visit) {}

  void walk(std::span<const int64_t> counts, std::span<const HeadChannels> channels) {
    for (std::size_t h = 0; h < counts.size(); ++h) {
      const int64_t width = width_of(shape_, channels, h);
      walk_numbers(0, shape_.key_bits, {counts[h], width},
                   {(counts[h] + shape_.key_group - 1) / shape_.key_group, width});
    }
    for (const int64_t rows : counts) {
      walk_numbers(kKinds, shape_.value_bits, {rows, shape_.head_dim}, {rows, 1});
    }
  }

 private:
  struct Size {
    int64_t rows;
    int64_t width;
  };

  void walk_numbers(std::size_t kinds, int64_t bits, Size numbers, Size scales) {
    if (bits > kWidestCode) {
      interleaved(kinds + kPlain, static_cast<std::size_t>(numbers.rows * numbers.width),
                  at::elementSize(shape_.type));
      return;
    }
    walk_scales(kinds, static_cast<std::size_t>(scales.rows),
                static_cast<std::size_t>(scales.width));
    for (int64_t row = 0; row < numbers.rows; ++row) {
      visit_(Run{.plane = kinds + kCodes,
                 .at = at_,
                 .count = static_cast<std::size_t>(numbers.width),
                 .bits = bits});
      at_ += code_bytes(numbers.width, bits);
    }
    interleaved(
        kinds + kFactors,
        residual_bytes(numbers.rows, numbers.width, shape_.residual_rank) / sizeof(c10::Half),
        sizeof(c10::Half));
  }

  void walk_scales(std::size_t kinds, std::size_t lines, std::size_t width) {
    if (shape_.scale_bits == 8) {
      interleaved(kinds + kLadders, scale_bytes(0, 0, 8), 1);
    }
    for (std::size_t line = 0; line < lines; ++line) {
      if (shape_.scale_bits == 8) {
        interleaved(kinds + kNarrowScales, width, 1);
        interleaved(kinds + kNarrowMinima, width, 1);
      } else {
        interleaved(kinds + kWideScales, width, 2);
        interleaved(kinds + kWideMinima, width, 2);
      }
    }
  }

  /// `count` numbers of `bytes` bytes, each byte in a plane of its own.
  void interleaved(std::size_t plane, std::size_t count, std::size_t bytes) {
    for (std::size_t byte = 0; byte < bytes; ++byte) {
      visit_(Run{.plane = plane + byte, .at = at_ + byte, .count = count, .stride = bytes});
    }
    at_ += count * bytes;
  }

  const SectionShape& shape_;
  Visit visit_;
  std::size_t at_ = 0;
};

}  // namespace

Planes empty_planes(const SectionShape& shape, std::span<const int64_t> counts,
                    std::span<const HeadChannels> channels) {
  std::array<std::size_t, kPlanes> sizes{};
  Planes planes;
  SectionWalk(shape, [&](const Run& run) {
    sizes[run.plane] += run.count;
    planes[run.plane].bits = run.bits;
  }).walk(counts, channels);
  for (std::size_t i = 0; i < kPlanes; ++i) {
    planes[i].symbols.resize(sizes[i]);
  }
  return planes;
}

void split_section(const SectionShape& shape, std::span<const int64_t> counts,
                   std::span<const HeadChannels> channels, const std::byte* rows, Planes& planes) {
  std::array<std::size_t, kPlanes> filled{};
  SectionWalk(shape, [&](const Run& run) {
    uint8_t* symbols = planes[run.plane].symbols.data() + filled[run.plane];
    if (run.bits < 8) {
      unpack_codes(rows + run.at, static_cast<int64_t>(run.count), run.bits, symbols);
    } else {
      for (std::size_t i = 0; i < run.count; ++i) {
        symbols[i] = static_cast<uint8_t>(rows[run.at + i * run.stride]);
      }
    }
    filled[run.plane] += run.count;
  }).walk(counts, channels);
}

void join_section(const SectionShape& shape, std::span<const int64_t> counts,
                  std::span<const HeadChannels> channels, const Planes& planes, std::byte* rows) {
  std::array<std::size_t, kPlanes> taken{};
  SectionWalk(shape, [&](const Run& run) {
    const uint8_t* symbols = planes[run.plane].symbols.data() + taken[run.plane];
    if (run.bits < 8) {
      pack_codes(symbols, static_cast<int64_t>(run.count), run.bits, rows + run.at);
    } else {
      for (std::size_t i = 0; i < run.count; ++i) {
        rows[run.at + i * run.stride] = static_cast<std::byte>(symbols[i]);
      }
    }
    taken[run.plane] += run.count;
  }).walk(counts, channels);
}

}  // namespace alluvium::memory_bank
