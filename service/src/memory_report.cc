#include "alluvium/service/memory_report.h"

#include <nlohmann/json.hpp>

namespace alluvium::service {
namespace {

/// Of rising values, by nearest rank; 0 when there are none.
double quantile(const std::vector<double>& rising, double share) {
  return rising.empty()
             ? 0
             : rising[static_cast<std::size_t>(share * static_cast<double>(rising.size() - 1))];
}

}  // namespace

std::string report_to_json(const MemoryReport& report) {
  const memory_bank::MemoryStatistics& all = report.statistics;
  nlohmann::ordered_json presets = nlohmann::ordered_json::object();
  for (const memory_bank::MemoryKind& kind : all.kinds) {
    presets[kind.preset.empty() ? "unknown" : kind.preset] = {{"memories", kind.memories},
                                                              {"richer", kind.richer},
                                                              {"tokens", kind.tokens},
                                                              {"bytes", kind.bytes}};
  }
  const std::vector<double>& gaps = all.quality_gaps;
  return nlohmann::ordered_json{{"memories", all.memories},
                                {"tokens", all.tokens},
                                {"bytes", all.bytes},
                                {"segment_bytes", all.segment_bytes},
                                {"waiting", all.waiting},
                                {"preset", report.preset},
                                {"remaking", report.remaking},
                                {"presets", presets},
                                {"quality_gap",
                                 {{"measured", gaps.size()},
                                  {"p50", quantile(gaps, 0.5)},
                                  {"p90", quantile(gaps, 0.9)},
                                  {"p99", quantile(gaps, 0.99)},
                                  {"highest", quantile(gaps, 1)}}}}
      .dump();
}

}  // namespace alluvium::service
