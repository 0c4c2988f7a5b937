// Gradients without a model. Needs the room selectors.
#pragma once

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/selectors/gradient_scorer.h"

namespace alluvium::tests {

/// A text "skill:number" has a gradient along its skill's axis with noise of its own; "bad" cannot be learned from. Equal texts are equal.
class MadeUpScorer final : public selectors::GradientScorer {
 public:
  std::string label() const override { return "made up"; }
  int64_t dimension() const override { return 32; }

  std::vector<selectors::ScoredSample> score(std::span<const selectors::Sample> samples) override {
    if (calls_left_-- == 0) {
      throw Unavailable("killed");
    }
    std::vector<selectors::ScoredSample> scored;
    for (const selectors::Sample& sample : samples) {
      ++calls_[sample.id];
      selectors::ScoredSample one;
      if (sample.text == "bad") {
        one.excluded = "has no answer tokens";
        scored.push_back(std::move(one));
        continue;
      }
      Random random(std::hash<std::string>{}(sample.text));
      const auto skill = static_cast<std::size_t>(std::stoi(sample.text));
      one.answer_tokens = 3;
      for (int64_t d = 0; d < dimension(); ++d) {
        one.sketch.push_back(static_cast<float>(0.08 * random.normal()));
      }
      one.sketch[skill] += 1;
      one.score(selectors::Expert::nll) = std::exp(random.normal());
      one.score(selectors::Expert::el2n) = random.uniform();
      one.score(selectors::Expert::entropy) = 2.0;
      scored.push_back(std::move(one));
    }
    return scored;
  }

  std::map<std::string, int> calls_;  ///< of each id
  int64_t calls_left_ = -1;           ///< after so many calls it breaks; below 0: never
};

}  // namespace alluvium::tests
