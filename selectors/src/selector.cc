#include "alluvium/selectors/selector.h"

#include "alluvium/core/error.h"
#include "baseline_selectors.h"
#include "model_selectors.h"
#include "zip_fit_selector.h"

namespace alluvium::selectors {

void validate_targets(const TargetSet& targets) {
  ALLUVIUM_CHECK(!targets.texts.empty(), "targets must hold at least one text, got none");
  for (std::size_t j = 0; j < targets.texts.size(); ++j) {
    ALLUVIUM_CHECK(!targets.texts[j].empty(), "target {} is empty", j + 1);
  }
}

void Selector::restore(std::string_view state) {
  if (!state.empty()) {
    throw DataCorruption(
        fmt::format("state of selector {}: {} bytes where none belong", label(), state.size()));
  }
}

void register_selectors(SelectorRegistry& registry) {
  const auto add = [&registry](const char* name, auto make) {
    registry.add(name, [make](const SelectorOptions& options) {
      ALLUVIUM_CHECK(options.threads >= 1, "threads must be at least 1, got {}", options.threads);
      return make(options);
    });
  };
  add("adapt_inf", make_adapt_inf);
  add("bm25", make_bm25);
  add("d4", make_d4);
  add("dedupe", make_dedupe);
  add("dsir", make_dsir);
  add("embedding", make_embedding);
  add("length_matched_random", make_length_matched_random);
  add("less", make_less);
  add("random", make_random);
  add("zip_fit", make_zip_fit);
}

}  // namespace alluvium::selectors
