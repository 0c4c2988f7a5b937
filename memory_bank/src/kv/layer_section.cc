#include "kv/layer_section.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "alluvium/core/error.h"
#include "kv/compensation.h"
#include "kv/quantise.h"
#include "kv/record_check.h"
#include "kv/residual.h"

namespace alluvium::memory_bank {
namespace {

std::size_t map_bytes(const SectionShape& shape) {
  return shape.everything ? 0 : code_bytes(shape.tokens, 1);
}

std::size_t mask_bytes(const SectionShape& shape) { return code_bytes(shape.head_dim, 1); }

std::size_t channel_bytes(const SectionShape& shape, const HeadChannels& channels) {
  return mask_bytes(shape) + channels.constant.size() * sizeof(c10::Half);
}

std::size_t plain_bytes(const SectionShape& shape, int64_t rows, int64_t width) {
  return static_cast<std::size_t>(rows * width) * at::elementSize(shape.type);
}

/// Of scales and codes.
std::size_t quantised_key_bytes(const SectionShape& shape, int64_t rows, int64_t width) {
  return key_bytes(rows, width, shape.key_group, shape.key_bits, shape.scale_bits);
}

std::size_t quantised_value_bytes(const SectionShape& shape, int64_t rows) {
  return value_bytes(rows, shape.head_dim, shape.value_bits, shape.scale_bits);
}

std::size_t head_key_bytes(const SectionShape& shape, int64_t rows, int64_t width) {
  return shape.key_bits > kWidestCode ? plain_bytes(shape, rows, width)
                                      : quantised_key_bytes(shape, rows, width) +
                                            residual_bytes(rows, width, shape.residual_rank);
}

std::size_t head_value_bytes(const SectionShape& shape, int64_t rows) {
  return shape.value_bits > kWidestCode
             ? plain_bytes(shape, rows, shape.head_dim)
             : quantised_value_bytes(shape, rows) +
                   residual_bytes(rows, shape.head_dim, shape.residual_rank);
}

void set_bits(std::span<const int64_t> places, std::byte* map) {
  for (const int64_t place : places) {
    map[place / 8] |= static_cast<std::byte>(1U << (place % 8));
  }
}

/// Adds the places of the bits, rising.
void get_bits(std::span<const std::byte> map, std::vector<int64_t>& places) {
  for (std::size_t bit = 0; bit < 8 * map.size(); ++bit) {
    if ((static_cast<unsigned>(map[bit / 8]) >> (bit % 8) & 1U) != 0) {
      places.push_back(static_cast<int64_t>(bit));
    }
  }
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

/// Of rows of all channels, numbers of `element` bytes, those that are kept.
std::vector<std::byte> narrow(const std::vector<std::byte>& rows, std::size_t element,
                              int64_t head_dim, const HeadChannels& channels) {
  const auto row_bytes = static_cast<std::size_t>(head_dim) * element;
  std::vector<std::byte> kept(rows.size() / row_bytes * channels.kept.size() * element);
  std::byte* out = kept.data();
  for (std::size_t row = 0; row < rows.size(); row += row_bytes) {
    for (const int64_t channel : channels.kept) {
      std::memcpy(out, rows.data() + row + static_cast<std::size_t>(channel) * element, element);
      out += element;
    }
  }
  return kept;
}

/// The other way: rows [rows, kept channels] to [rows, head_dim].
template <class T>
void widen(const T* rows, int64_t count, int64_t head_dim, const HeadChannels& channels, T* out) {
  std::vector<T> row(static_cast<std::size_t>(head_dim));
  auto constant = channels.constant.begin();
  auto kept = channels.kept.begin();
  for (std::size_t c = 0; c < row.size(); ++c) {
    if (kept != channels.kept.end() && *kept == static_cast<int64_t>(c)) {
      ++kept;
    } else {
      row[c] = static_cast<T>(*constant++);
    }
  }
  for (int64_t i = 0; i < count; ++i, out += head_dim) {
    for (const int64_t channel : channels.kept) {
      row[static_cast<std::size_t>(channel)] = *rows++;
    }
    std::copy(row.begin(), row.end(), out);
  }
}

template <class T>
void dequantise_keys_of(const SectionShape& shape, const std::byte* from, int64_t rows,
                        int64_t width, T* keys) {
  dequantise_keys(from, rows, width, shape.key_group, shape.key_bits, shape.scale_bits, keys);
}

template <class T>
void dequantise_values_of(const SectionShape& shape, const std::byte* from, int64_t rows,
                          T* values) {
  dequantise_values(from, rows, shape.head_dim, shape.value_bits, shape.scale_bits, values);
}

/// Dequantises rows and adds their residual before they are rounded to T.
template <class T, class Dequantise>
void with_residual(const std::byte* factors, int64_t rows, int64_t width, int64_t rank,
                   const Dequantise& dequantise, T* out) {
  if (rank == 0) {
    dequantise(out);
    return;
  }
  std::vector<float> exact(static_cast<std::size_t>(rows * width));
  dequantise(exact.data());
  add_residual(factors, rows, width, rank, exact.data());
  std::copy(exact.begin(), exact.end(), out);
}

template <class T>
void decode_keys(const SectionShape& shape, const std::byte* from, int64_t rows, int64_t width,
                 T* keys) {
  if (shape.key_bits > kWidestCode) {
    std::memcpy(keys, from, plain_bytes(shape, rows, width));
  } else {
    with_residual(
        from + quantised_key_bytes(shape, rows, width), rows, width, shape.residual_rank,
        [&](auto* out) { dequantise_keys_of(shape, from, rows, width, out); }, keys);
  }
}

template <class T>
void decode_as(const SectionShape& shape, const std::byte* from, std::span<const int64_t> counts,
               std::span<const HeadChannels> channels, T* keys, T* values) {
  for (std::size_t h = 0; h < counts.size(); ++h) {
    const int64_t rows = counts[h];
    const int64_t width = width_of(shape, channels, h);
    if (width == shape.head_dim) {
      decode_keys(shape, from, rows, width, keys);
    } else {
      std::vector<T> narrow_rows(static_cast<std::size_t>(rows * width));
      decode_keys(shape, from, rows, width, narrow_rows.data());
      widen(narrow_rows.data(), rows, shape.head_dim, channels[h], keys);
    }
    from += head_key_bytes(shape, rows, width);
    keys += rows * shape.head_dim;
  }
  for (const int64_t rows : counts) {
    if (shape.value_bits > kWidestCode) {
      std::memcpy(values, from, plain_bytes(shape, rows, shape.head_dim));
    } else {
      with_residual(
          from + quantised_value_bytes(shape, rows), rows, shape.head_dim, shape.residual_rank,
          [&](auto* out) { dequantise_values_of(shape, from, rows, out); }, values);
    }
    from += head_value_bytes(shape, rows);
    values += rows * shape.head_dim;
  }
}

}  // namespace

int64_t width_of(const SectionShape& shape, std::span<const HeadChannels> channels,
                 std::size_t head) {
  return channels.empty() ? shape.head_dim : static_cast<int64_t>(channels[head].kept.size());
}

std::size_t lead_bytes(const SectionShape& shape, std::span<const HeadChannels> channels) {
  std::size_t bytes = map_bytes(shape) * static_cast<std::size_t>(shape.kv_heads);
  for (const HeadChannels& head : channels) {
    bytes += channel_bytes(shape, head);
  }
  return bytes;
}

std::size_t tail_bytes(const SectionShape& shape) {
  return shape.compensated ? compensation_bytes(shape.kv_heads, shape.head_dim) : 0;
}

std::size_t section_bytes(const SectionShape& shape, std::span<const int64_t> counts,
                          std::span<const HeadChannels> channels) {
  std::size_t bytes = lead_bytes(shape, channels) + tail_bytes(shape);
  for (std::size_t h = 0; h < counts.size(); ++h) {
    bytes += head_key_bytes(shape, counts[h], width_of(shape, channels, h)) +
             head_value_bytes(shape, counts[h]);
  }
  return bytes;
}

std::vector<std::byte> encode_section(const SectionShape& shape, const at::Tensor& keys,
                                      const at::Tensor& values, std::span<const int64_t> counts,
                                      std::span<const int64_t> positions,
                                      std::span<const HeadChannels> channels) {
  std::vector<std::byte> section(section_bytes(shape, counts, channels));
  std::byte* out = section.data();
  if (!shape.everything) {
    std::size_t at = 0;
    for (const int64_t rows : counts) {
      set_bits(positions.subspan(at, static_cast<std::size_t>(rows)), out);
      at += static_cast<std::size_t>(rows);
      out += map_bytes(shape);
    }
  }
  for (const HeadChannels& head : channels) {
    set_bits(head.kept, out);
    out += mask_bytes(shape);
    for (const float constant : head.constant) {
      const c10::Half half(constant);
      std::memcpy(out, &half, sizeof(half));
      out += sizeof(half);
    }
  }
  const auto each_head = [&](const at::Tensor& tensor, auto&& write) {
    std::size_t at = 0;
    for (int64_t h = 0; h < shape.kv_heads; ++h) {
      const int64_t rows = counts[static_cast<std::size_t>(h)];
      std::vector<std::byte> gathered =
          gather(tensor[h], positions.subspan(at, static_cast<std::size_t>(rows)));
      at += static_cast<std::size_t>(rows);
      write(std::move(gathered), rows, static_cast<std::size_t>(h));
    }
  };
  const auto store_residual = [&](const std::vector<std::byte>& rows, int64_t count, int64_t width,
                                  std::byte* factors, auto&& dequantise) {
    if (shape.residual_rank > 0) {
      std::vector<float> decoded(static_cast<std::size_t>(count * width));
      dequantise(decoded.data());
      write_residual(reinterpret_cast<const float*>(rows.data()), decoded.data(), count, width,
                     shape.residual_rank, factors);
    }
  };
  each_head(keys, [&](std::vector<std::byte> rows, int64_t count, std::size_t head) {
    const int64_t width = width_of(shape, channels, head);
    if (width < shape.head_dim) {
      rows = narrow(rows, keys.element_size(), shape.head_dim, channels[head]);
    }
    if (shape.key_bits > kWidestCode) {
      std::memcpy(out, rows.data(), rows.size());
    } else {
      quantise_keys(reinterpret_cast<const float*>(rows.data()), count, width, shape.key_group,
                    shape.key_bits, shape.scale_bits, out);
      store_residual(
          rows, count, width, out + quantised_key_bytes(shape, count, width),
          [&](float* decoded) { dequantise_keys_of(shape, out, count, width, decoded); });
    }
    out += head_key_bytes(shape, count, width);
  });
  each_head(values, [&](const std::vector<std::byte>& rows, int64_t count, std::size_t) {
    if (shape.value_bits > kWidestCode) {
      std::memcpy(out, rows.data(), rows.size());
    } else {
      quantise_values(reinterpret_cast<const float*>(rows.data()), count, shape.head_dim,
                      shape.value_bits, shape.scale_bits, out);
      store_residual(rows, count, shape.head_dim, out + quantised_value_bytes(shape, count),
                     [&](float* decoded) { dequantise_values_of(shape, out, count, decoded); });
    }
    out += head_value_bytes(shape, count);
  });
  return section;
}

void read_kept_rows(const SectionShape& shape, std::span<const std::byte> section,
                    std::vector<int64_t>& counts, std::vector<int64_t>& positions) {
  const std::size_t bytes = map_bytes(shape);
  require(section.size() >= bytes * static_cast<std::size_t>(shape.kv_heads),
          "a layer's section is shorter than its bit maps");
  for (int64_t h = 0; h < shape.kv_heads; ++h) {
    const std::size_t before = positions.size();
    get_bits(section.subspan(static_cast<std::size_t>(h) * bytes, bytes), positions);
    require(positions.size() > before, "a head keeps no row");
    require(positions.back() < shape.tokens, "a kept row lies past the last token");
    counts.push_back(static_cast<int64_t>(positions.size() - before));
  }
}

std::vector<HeadChannels> read_channels(const SectionShape& shape,
                                        std::span<const std::byte> section) {
  std::size_t at = map_bytes(shape) * static_cast<std::size_t>(shape.kv_heads);
  const auto take = [&](std::size_t bytes) {
    require(bytes <= section.size() - at, "a layer's section is shorter than its channels");
    at += bytes;
    return section.subspan(at - bytes, bytes);
  };
  const auto heads = static_cast<std::size_t>(shape.kv_heads);
  require(section.size() >= at + mask_bytes(shape) * heads,
          "a layer's section is shorter than its channels");
  std::vector<HeadChannels> channels(heads);
  for (HeadChannels& head : channels) {
    get_bits(take(mask_bytes(shape)), head.kept);
    require(!head.kept.empty(), "a head keeps no channel");
    require(head.kept.back() < shape.head_dim, "a kept channel lies past the last");
    std::vector<c10::Half> constants(static_cast<std::size_t>(shape.head_dim) - head.kept.size());
    const auto bytes = take(constants.size() * sizeof(c10::Half));
    std::memcpy(constants.data(), bytes.data(), bytes.size());
    head.constant.assign(constants.begin(), constants.end());
    require(std::all_of(head.constant.begin(), head.constant.end(),
                        [](float constant) { return std::isfinite(constant); }),
            "a channel's mean is not finite");
  }
  return channels;
}

void decode_section(const SectionShape& shape, std::span<const std::byte> section,
                    std::span<const int64_t> counts, std::span<const HeadChannels> channels,
                    void* keys, void* values) {
  const std::byte* from = section.data() + lead_bytes(shape, channels);
  switch (shape.type) {
    case at::kFloat:
      decode_as(shape, from, counts, channels, static_cast<float*>(keys),
                static_cast<float*>(values));
      return;
    case at::kHalf:
      decode_as(shape, from, counts, channels, static_cast<c10::Half*>(keys),
                static_cast<c10::Half*>(values));
      return;
    case at::kBFloat16:
      decode_as(shape, from, counts, channels, static_cast<c10::BFloat16*>(keys),
                static_cast<c10::BFloat16*>(values));
      return;
    default:
      throw InternalError(fmt::format("memories are not decoded to {}", at::toString(shape.type)));
  }
}

}  // namespace alluvium::memory_bank
