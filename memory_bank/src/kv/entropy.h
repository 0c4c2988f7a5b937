// A layer's section in fewer bytes, and back to the very same.
//
// Purpose: codec.entropy: zstd over the section as it stands, or rans over its planes. A section that
//          does not get smaller stays as it is.
// Source : zstd (Collet and Kucherawy, RFC 8878); CacheGen (Liu et al., SIGCOMM 2024), see kv/rans.h.
// Differs: CacheGen codes differences to an anchor token with steps that grow with the depth: another,
//          coarser quantiser. Here the quantiser stays and only its output is coded, so that what is
//          decoded does not depend on this setting.
// Layout : rans: what stands before the keys as it is, then each plane that is not empty: u32 bytes of
//          it, and they are encode_rans() of its symbols, or, when they are as many as the packed
//          symbols take, those; then what stands behind the values as it is.
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "alluvium/memory_bank/memory.h"
#include "kv/layer_section.h"

namespace alluvium::memory_bank {

/// A coded section is not less than this part of the plain one, so that a record cannot ask for
/// memory out of proportion to its own length.
constexpr std::size_t kMostFold = 16;

/// The words of codec.entropy.
const std::vector<std::string>& entropy_names();
EntropyCoder parse_entropy(const std::string& name);

/// counts, channels: as for encode_section(). Nothing when the coded section would not be smaller, or too small.
std::optional<std::vector<std::byte>> code_section(EntropyCoder coder, const SectionShape& shape,
                                                   std::span<const int64_t> counts,
                                                   std::span<const HeadChannels> channels,
                                                   std::span<const std::byte> section);

/// The plain section, of plain_bytes. Throws DataCorruption when `coded` does not give just that.
std::vector<std::byte> plain_section(EntropyCoder coder, const SectionShape& shape,
                                     std::span<const std::byte> coded, std::size_t plain_bytes);

}  // namespace alluvium::memory_bank
