// The numbers of a section by kind: codes, scales, minima, bytes of wide numbers.
//
// Purpose: what is coded by frequencies must be alike. A plane holds the numbers of one kind of all
//          heads of a layer, keys apart from values; wide numbers give a plane for each of their bytes.
// Threads: pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kv/layer_section.h"

namespace alluvium::memory_bank {

struct Plane {
  int64_t bits = 8;              ///< of a symbol: 2, 3, 4 or 8
  std::vector<uint8_t> symbols;  ///< empty: the section has no such numbers
};

/// Of keys, then of values, then of the tail's keys and of its values, in this order each: codes; low and high bytes of float16 scales, of
/// float16 minima, of float16 factors; 8-bit codes of scales, of minima, and their ladders; the bytes of a number of the
/// type, lowest first.
constexpr std::size_t kPlanes = 56;
using Planes = std::array<Plane, kPlanes>;

/// Planes of the right widths and sizes, all symbols 0.
Planes empty_planes(const SectionShape& shape, std::span<const int64_t> counts,
                    std::span<const HeadChannels> channels);

/// Fills the planes from the keys and values of a section, which begin at `rows`.
void split_section(const SectionShape& shape, std::span<const int64_t> counts,
                   std::span<const HeadChannels> channels, const std::byte* rows, Planes& planes);

/// The inverse: writes every byte of keys and values.
void join_section(const SectionShape& shape, std::span<const int64_t> counts,
                  std::span<const HeadChannels> channels, const Planes& planes, std::byte* rows);

}  // namespace alluvium::memory_bank
