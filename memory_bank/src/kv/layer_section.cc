#include "kv/layer_section.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "alluvium/core/error.h"
#include "kv/compensation.h"
#include "kv/record_check.h"

namespace alluvium::memory_bank {
namespace {

std::size_t map_bytes(const SectionShape& shape) {
  return shape.everything ? 0 : code_bytes(shape.tokens, 1);
}

std::size_t mask_bytes(const SectionShape& shape) { return code_bytes(shape.head_dim, 1); }

std::size_t channel_bytes(const SectionShape& shape, const HeadChannels& channels) {
  return mask_bytes(shape) + channels.constant.size() * sizeof(c10::Half);
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

/// Of one part, main or tail; `from` and both outputs go past it.
template <class T>
void decode_part(const SectionShape& shape, std::span<const int64_t> counts,
                 std::span<const HeadChannels> channels, const std::byte*& from, T* keys,
                 T* values) {
  for (std::size_t h = 0; h < counts.size(); ++h) {
    const HeadNumbers numbers = keys_of(shape, counts[h], width_of(shape, channels, h));
    if (numbers.width == shape.head_dim) {
      decode_head(numbers, from, keys);
    } else {
      std::vector<T> narrow_rows(static_cast<std::size_t>(numbers.rows * numbers.width));
      decode_head(numbers, from, narrow_rows.data());
      widen(narrow_rows.data(), numbers.rows, shape.head_dim, channels[h], keys);
    }
    from += bytes_of(numbers);
    keys += numbers.rows * shape.head_dim;
  }
  for (const int64_t rows : counts) {
    const HeadNumbers numbers = values_of(shape, rows);
    decode_head(numbers, from, values);
    from += bytes_of(numbers);
    values += rows * shape.head_dim;
  }
}

/// Rows of a head at `kept`, rising, and its others in between, as they stand in the text.
template <class T>
void weave(const T* main, const T* tail, std::span<const int64_t> kept, int64_t tokens,
           int64_t head_dim, T* out) {
  auto next = kept.begin();
  for (int64_t token = 0; token < tokens; ++token, out += head_dim) {
    const bool is_main = next != kept.end() && *next == token;
    const T*& from = is_main ? main : tail;
    next += is_main ? 1 : 0;
    std::copy_n(from, head_dim, out);
    from += head_dim;
  }
}

template <class T>
void decode_as(const SectionShape& shape, std::span<const std::byte> section,
               std::span<const int64_t> counts, std::span<const HeadChannels> channels, T* keys,
               T* values) {
  const std::byte* from = section.data() + lead_bytes(shape, channels);
  if (shape.tail_bits == 0) {
    decode_part(shape, counts, channels, from, keys, values);
    return;
  }
  struct Part {
    std::vector<T> keys;
    std::vector<T> values;
  };
  const auto decoded = [&](const SectionShape& part, std::span<const int64_t> rows) {
    const auto numbers = static_cast<std::size_t>(
        std::accumulate(rows.begin(), rows.end(), int64_t{0}) * shape.head_dim);
    Part out{std::vector<T>(numbers), std::vector<T>(numbers)};
    decode_part(part, rows, channels, from, out.keys.data(), out.values.data());
    return out;
  };
  const std::vector<int64_t> others = tail_counts(shape, counts);
  const Part main = decoded(shape, counts);
  const Part tail = decoded(tail_of(shape), others);
  std::vector<int64_t> same_counts;
  std::vector<int64_t> positions;
  read_kept_rows(shape, section, same_counts, positions);
  int64_t first = 0;
  int64_t first_other = 0;
  for (std::size_t h = 0; h < counts.size(); ++h) {
    const auto kept = std::span<const int64_t>(positions).subspan(
        static_cast<std::size_t>(first), static_cast<std::size_t>(counts[h]));
    const int64_t at = first * shape.head_dim;
    const int64_t other = first_other * shape.head_dim;
    weave(main.keys.data() + at, tail.keys.data() + other, kept, shape.tokens, shape.head_dim,
          keys);
    weave(main.values.data() + at, tail.values.data() + other, kept, shape.tokens, shape.head_dim,
          values);
    first += counts[h];
    first_other += others[h];
    keys += shape.tokens * shape.head_dim;
    values += shape.tokens * shape.head_dim;
  }
}

/// The tokens that `positions` of each head leave out, one head after the other.
std::vector<int64_t> other_positions(const SectionShape& shape, std::span<const int64_t> counts,
                                     std::span<const int64_t> positions) {
  std::vector<int64_t> others;
  auto kept = positions.begin();
  for (const int64_t rows : counts) {
    const auto end = kept + rows;
    for (int64_t token = 0; token < shape.tokens; ++token) {
      if (kept != end && *kept == token) {
        ++kept;
      } else {
        others.push_back(token);
      }
    }
  }
  return others;
}

/// Of one part; returns where it ends.
std::byte* encode_part(const SectionShape& shape, const at::Tensor& keys, const at::Tensor& values,
                       std::span<const int64_t> counts, std::span<const int64_t> positions,
                       std::span<const HeadChannels> channels, std::byte* out) {
  const auto each_head = [&](const at::Tensor& tensor, auto&& write) {
    std::size_t at = 0;
    for (std::size_t h = 0; h < counts.size(); ++h) {
      const auto rows = static_cast<std::size_t>(counts[h]);
      write(gather(tensor[static_cast<int64_t>(h)], positions.subspan(at, rows)), h);
      at += rows;
    }
  };
  each_head(keys, [&](std::vector<std::byte> rows, std::size_t head) {
    const HeadNumbers numbers = keys_of(shape, counts[head], width_of(shape, channels, head));
    if (numbers.width < shape.head_dim) {
      rows = narrow(rows, keys.element_size(), shape.head_dim, channels[head]);
    }
    encode_head(numbers, rows.data(), out);
    out += bytes_of(numbers);
  });
  each_head(values, [&](const std::vector<std::byte>& rows, std::size_t head) {
    const HeadNumbers numbers = values_of(shape, counts[head]);
    encode_head(numbers, rows.data(), out);
    out += bytes_of(numbers);
  });
  return out;
}

std::size_t part_bytes(const SectionShape& shape, std::span<const int64_t> counts,
                       std::span<const HeadChannels> channels) {
  std::size_t bytes = 0;
  for (std::size_t h = 0; h < counts.size(); ++h) {
    bytes += bytes_of(keys_of(shape, counts[h], width_of(shape, channels, h))) +
             bytes_of(values_of(shape, counts[h]));
  }
  return bytes;
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

HeadNumbers keys_of(const SectionShape& shape, int64_t rows, int64_t width) {
  return {.rows = rows,
          .width = width,
          .bits = shape.key_bits,
          .group = shape.row_keys ? 0 : shape.key_group,
          .scale_bits = shape.scale_bits,
          .residual_rank = shape.residual_rank,
          .type = shape.type,
          .quantiser = shape.quantiser};
}

HeadNumbers values_of(const SectionShape& shape, int64_t rows) {
  return {.rows = rows,
          .width = shape.head_dim,
          .bits = shape.value_bits,
          .scale_bits = shape.scale_bits,
          .residual_rank = shape.residual_rank,
          .type = shape.type,
          .quantiser = shape.quantiser};
}

SectionShape tail_of(const SectionShape& shape) {
  SectionShape tail = shape;
  tail.key_bits = tail.value_bits = shape.tail_bits;
  tail.residual_rank = 0;
  return tail;
}

std::vector<int64_t> tail_counts(const SectionShape& shape, std::span<const int64_t> counts) {
  std::vector<int64_t> others;
  for (const int64_t rows : counts) {
    others.push_back(shape.tokens - rows);
  }
  return others;
}

std::size_t end_bytes(const SectionShape& shape) {
  return shape.compensated ? compensation_bytes(shape.kv_heads, shape.head_dim) : 0;
}

std::size_t section_bytes(const SectionShape& shape, std::span<const int64_t> counts,
                          std::span<const HeadChannels> channels) {
  std::size_t bytes =
      lead_bytes(shape, channels) + part_bytes(shape, counts, channels) + end_bytes(shape);
  if (shape.tail_bits > 0) {
    bytes += part_bytes(tail_of(shape), tail_counts(shape, counts), channels);
  }
  return bytes;
}

std::vector<std::byte> encode_section(const SectionShape& shape, const at::Tensor& keys,
                                      const at::Tensor& values, std::span<const int64_t> counts,
                                      std::span<const int64_t> positions,
                                      std::span<const HeadChannels> channels) {
  std::vector<std::byte> section(section_bytes(shape, counts, channels));
  std::byte* out = write_kept_rows(shape, counts, positions, section.data());
  for (const HeadChannels& head : channels) {
    set_bits(head.kept, out);
    out += mask_bytes(shape);
    for (const float constant : head.constant) {
      const c10::Half half(constant);
      std::memcpy(out, &half, sizeof(half));
      out += sizeof(half);
    }
  }
  out = encode_part(shape, keys, values, counts, positions, channels, out);
  if (shape.tail_bits > 0) {
    encode_part(tail_of(shape), keys, values, tail_counts(shape, counts),
                other_positions(shape, counts, positions), channels, out);
  }
  return section;
}

std::byte* write_kept_rows(const SectionShape& shape, std::span<const int64_t> counts,
                           std::span<const int64_t> positions, std::byte* out) {
  if (!shape.everything) {
    std::size_t at = 0;
    for (const int64_t rows : counts) {
      set_bits(positions.subspan(at, static_cast<std::size_t>(rows)), out);
      at += static_cast<std::size_t>(rows);
      out += map_bytes(shape);
    }
  }
  return out;
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
  switch (shape.type) {
    case at::kFloat:
      decode_as(shape, section, counts, channels, static_cast<float*>(keys),
                static_cast<float*>(values));
      return;
    case at::kHalf:
      decode_as(shape, section, counts, channels, static_cast<c10::Half*>(keys),
                static_cast<c10::Half*>(values));
      return;
    case at::kBFloat16:
      decode_as(shape, section, counts, channels, static_cast<c10::BFloat16*>(keys),
                static_cast<c10::BFloat16*>(values));
      return;
    default:
      throw InternalError(fmt::format("memories are not decoded to {}", at::toString(shape.type)));
  }
}

}  // namespace alluvium::memory_bank
