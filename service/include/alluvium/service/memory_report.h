// What the stored memories take and how good they are, for people and programs.
//
// Threads: pure functions.
#pragma once

#include <string>

#include "alluvium/memory_bank/store.h"

namespace alluvium::service {

struct MemoryReport {
  memory_bank::MemoryStatistics statistics;
  std::string preset;     ///< in force: what new memories are made with; empty when not known
  bool remaking = false;  ///< memories are being made anew
};

/// One JSON object: memories, tokens, bytes, segment_bytes, waiting, preset, remaking, presets (for
/// each: memories, richer, tokens, bytes) and quality_gap (measured, p50, p90, p99, highest; nats a
/// token).
std::string report_to_json(const MemoryReport& report);

}  // namespace alluvium::service
