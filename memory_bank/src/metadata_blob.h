// A document's metadata as one blob: for each entry in key order, u32 size and bytes of the key,
// u32 size and bytes of the value.
//
// Threads: thread-safe.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace alluvium::memory_bank {

std::vector<std::byte> encode_metadata(const std::map<std::string, std::string>& metadata);

/// Throws DataCorruption when a size passes the end.
std::map<std::string, std::string> decode_metadata(std::span<const std::byte> blob);

}  // namespace alluvium::memory_bank
