#include "kv/layer_section.h"

#include <algorithm>
#include <cstring>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "alluvium/core/error.h"
#include "kv/quantise.h"
#include "kv/residual.h"

namespace alluvium::memory_bank {
namespace {

std::size_t plain_bytes(const SectionShape& shape, int64_t rows) {
  return static_cast<std::size_t>(rows * shape.head_dim) * at::elementSize(shape.type);
}

/// Of scales and codes.
std::size_t quantised_key_bytes(const SectionShape& shape, int64_t rows) {
  return key_bytes(rows, shape.head_dim, shape.key_group, shape.key_bits, shape.scale_bits);
}

std::size_t quantised_value_bytes(const SectionShape& shape, int64_t rows) {
  return value_bytes(rows, shape.head_dim, shape.value_bits, shape.scale_bits);
}

std::size_t head_key_bytes(const SectionShape& shape, int64_t rows) {
  return shape.key_bits > kWidestCode
             ? plain_bytes(shape, rows)
             : quantised_key_bytes(shape, rows) +
                   residual_bytes(rows, shape.head_dim, shape.residual_rank);
}

std::size_t head_value_bytes(const SectionShape& shape, int64_t rows) {
  return shape.value_bits > kWidestCode
             ? plain_bytes(shape, rows)
             : quantised_value_bytes(shape, rows) +
                   residual_bytes(rows, shape.head_dim, shape.residual_rank);
}

template <class T>
void decode_keys(const SectionShape& shape, const std::byte* from, int64_t rows, T* keys) {
  dequantise_keys(from, rows, shape.head_dim, shape.key_group, shape.key_bits, shape.scale_bits,
                  keys);
}

template <class T>
void decode_values(const SectionShape& shape, const std::byte* from, int64_t rows, T* values) {
  dequantise_values(from, rows, shape.head_dim, shape.value_bits, shape.scale_bits, values);
}

/// Decodes quantised rows with their residual, which is added before they are rounded to T.
template <class T, class Decode>
void decode_with_residual(const SectionShape& shape, const std::byte* factors, int64_t rows,
                          const Decode& decode, T* out) {
  if (shape.residual_rank == 0) {
    decode(out);
    return;
  }
  std::vector<float> exact(static_cast<std::size_t>(rows * shape.head_dim));
  decode(exact.data());
  add_residual(factors, rows, shape.head_dim, shape.residual_rank, exact.data());
  std::copy(exact.begin(), exact.end(), out);
}

/// Rows of one head, gathered: [rows, head_dim].
std::vector<std::byte> gather(const at::Tensor& head, std::span<const int64_t> positions) {
  const auto row_bytes = static_cast<std::size_t>(head.size(1)) * head.element_size();
  std::vector<std::byte> rows(positions.size() * row_bytes);
  const auto* from = static_cast<const std::byte*>(head.const_data_ptr());
  for (std::size_t i = 0; i < positions.size(); ++i) {
    std::memcpy(rows.data() + i * row_bytes,
                from + static_cast<std::size_t>(positions[i]) * row_bytes, row_bytes);
  }
  return rows;
}

template <class T>
void decode_as(const SectionShape& shape, const std::byte* from, std::span<const int64_t> counts,
               T* keys, T* values) {
  for (const int64_t rows : counts) {
    if (shape.key_bits > kWidestCode) {
      std::memcpy(keys, from, plain_bytes(shape, rows));
    } else {
      decode_with_residual(
          shape, from + quantised_key_bytes(shape, rows), rows,
          [&](auto* out) { decode_keys(shape, from, rows, out); }, keys);
    }
    from += head_key_bytes(shape, rows);
    keys += rows * shape.head_dim;
  }
  for (const int64_t rows : counts) {
    if (shape.value_bits > kWidestCode) {
      std::memcpy(values, from, plain_bytes(shape, rows));
    } else {
      decode_with_residual(
          shape, from + quantised_value_bytes(shape, rows), rows,
          [&](auto* out) { decode_values(shape, from, rows, out); }, values);
    }
    from += head_value_bytes(shape, rows);
    values += rows * shape.head_dim;
  }
}

}  // namespace

std::size_t map_bytes(const SectionShape& shape) {
  return shape.everything ? 0 : code_bytes(shape.tokens, 1);
}

std::size_t section_bytes(const SectionShape& shape, std::span<const int64_t> counts) {
  std::size_t bytes = map_bytes(shape) * static_cast<std::size_t>(shape.kv_heads);
  for (const int64_t rows : counts) {
    bytes += head_key_bytes(shape, rows) + head_value_bytes(shape, rows);
  }
  return bytes;
}

std::vector<std::byte> encode_section(const SectionShape& shape, const at::Tensor& keys,
                                      const at::Tensor& values, std::span<const int64_t> counts,
                                      std::span<const int64_t> positions) {
  std::vector<std::byte> section(section_bytes(shape, counts));
  std::byte* out = section.data();
  if (!shape.everything) {
    std::size_t at = 0;
    for (const int64_t rows : counts) {
      for (int64_t i = 0; i < rows; ++i, ++at) {
        const auto token = static_cast<std::size_t>(positions[at]);
        out[token / 8] |= static_cast<std::byte>(1U << (token % 8));
      }
      out += map_bytes(shape);
    }
  }
  const auto each_head = [&](const at::Tensor& tensor, auto&& write) {
    std::size_t at = 0;
    for (int64_t h = 0; h < shape.kv_heads; ++h) {
      const int64_t rows = counts[static_cast<std::size_t>(h)];
      const std::vector<std::byte> gathered =
          gather(tensor[h], positions.subspan(at, static_cast<std::size_t>(rows)));
      at += static_cast<std::size_t>(rows);
      write(gathered, rows);
    }
  };
  const auto store_residual = [&](const std::vector<std::byte>& rows, int64_t count,
                                  std::byte* factors, auto&& decode) {
    if (shape.residual_rank > 0) {
      std::vector<float> decoded(static_cast<std::size_t>(count * shape.head_dim));
      decode(decoded.data());
      write_residual(reinterpret_cast<const float*>(rows.data()), decoded.data(), count,
                     shape.head_dim, shape.residual_rank, factors);
    }
  };
  each_head(keys, [&](const std::vector<std::byte>& rows, int64_t count) {
    if (shape.key_bits > kWidestCode) {
      std::memcpy(out, rows.data(), rows.size());
    } else {
      quantise_keys(reinterpret_cast<const float*>(rows.data()), count, shape.head_dim,
                    shape.key_group, shape.key_bits, shape.scale_bits, out);
      store_residual(rows, count, out + quantised_key_bytes(shape, count),
                     [&](float* decoded) { decode_keys(shape, out, count, decoded); });
    }
    out += head_key_bytes(shape, count);
  });
  each_head(values, [&](const std::vector<std::byte>& rows, int64_t count) {
    if (shape.value_bits > kWidestCode) {
      std::memcpy(out, rows.data(), rows.size());
    } else {
      quantise_values(reinterpret_cast<const float*>(rows.data()), count, shape.head_dim,
                      shape.value_bits, shape.scale_bits, out);
      store_residual(rows, count, out + quantised_value_bytes(shape, count),
                     [&](float* decoded) { decode_values(shape, out, count, decoded); });
    }
    out += head_value_bytes(shape, count);
  });
  return section;
}

void read_kept_rows(const SectionShape& shape, std::span<const std::byte> section,
                    std::vector<int64_t>& counts, std::vector<int64_t>& positions) {
  const std::size_t bytes = map_bytes(shape);
  const auto require = [](bool condition, const char* what) {
    if (!condition) {
      throw DataCorruption(fmt::format("memory record: {}", what));
    }
  };
  require(section.size() >= bytes * static_cast<std::size_t>(shape.kv_heads),
          "a layer's section is shorter than its bit maps");
  for (int64_t h = 0; h < shape.kv_heads; ++h) {
    const auto map = section.subspan(static_cast<std::size_t>(h) * bytes, bytes);
    const std::size_t before = positions.size();
    for (std::size_t bit = 0; bit < 8 * bytes; ++bit) {
      if ((static_cast<unsigned>(map[bit / 8]) >> (bit % 8) & 1U) != 0) {
        require(static_cast<int64_t>(bit) < shape.tokens, "a kept row lies past the last token");
        positions.push_back(static_cast<int64_t>(bit));
      }
    }
    require(positions.size() > before, "a head keeps no row");
    counts.push_back(static_cast<int64_t>(positions.size() - before));
  }
}

void decode_section(const SectionShape& shape, std::span<const std::byte> section,
                    std::span<const int64_t> counts, void* keys, void* values) {
  const std::byte* from =
      section.data() + map_bytes(shape) * static_cast<std::size_t>(shape.kv_heads);
  switch (shape.type) {
    case at::kFloat:
      decode_as(shape, from, counts, static_cast<float*>(keys), static_cast<float*>(values));
      return;
    case at::kHalf:
      decode_as(shape, from, counts, static_cast<c10::Half*>(keys),
                static_cast<c10::Half*>(values));
      return;
    case at::kBFloat16:
      decode_as(shape, from, counts, static_cast<c10::BFloat16*>(keys),
                static_cast<c10::BFloat16*>(values));
      return;
    default:
      throw InternalError(fmt::format("memories are not decoded to {}", at::toString(shape.type)));
  }
}

}  // namespace alluvium::memory_bank
