// The checkpoint of a selection on the disk: complete or not at all, and checked.
//
// Layout : "ALVSEL1\n", CRC-32C of the rest (4 bytes, little-endian), CBOR.
// Threads: thread-compatible.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

namespace alluvium::service {

/// Nothing when there is no file. Throws DataCorruption when its check fails.
std::optional<nlohmann::json> read_selection_state(const std::string& path);

/// Written beside, synced and renamed. Throws Unavailable when that fails.
void write_selection_state(const std::string& path, const nlohmann::json& state);

}  // namespace alluvium::service
