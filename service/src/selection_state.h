// The state of a selection or of a gate on the disk: complete or not at all, and checked.
//
// Layout : "ALVSEL1\n", CRC-32C of the rest (4 bytes, little-endian), CBOR.
// Threads: thread-compatible.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "alluvium/selectors/selector.h"
#include "alluvium/selectors/stream_gate.h"

namespace alluvium::service {

/// Nothing when there is no file. Throws DataCorruption when its check fails.
std::optional<nlohmann::json> read_selection_state(const std::string& path);

/// Written beside, synced and renamed. Throws Unavailable when that fails.
void write_selection_state(const std::string& path, const nlohmann::json& state);

/// Version and digest of the targets' texts.
std::string target_identity(const selectors::TargetSet& targets);

nlohmann::json window_to_json(const selectors::StreamGateWindow& window);
/// Throws nlohmann::json::exception when it is no window.
selectors::StreamGateWindow window_from_json(const nlohmann::json& window);

}  // namespace alluvium::service
