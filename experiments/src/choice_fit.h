// How much each figure of a candidate document tells about being the right one.
//
// Source : conditional logit (McFadden, 1974): P(i) = exp(w . x_i) / sum over the candidates, here with any number of right ones.
// Threads: pure functions.
#pragma once

#include <array>
#include <vector>

namespace alluvium::experiments {

constexpr std::size_t kChoiceFigures = 3;

struct ChoiceAlternative {
  std::array<double, kChoiceFigures> figures{};
  bool right = false;
};

/// The alternatives of one question.
using ChoiceSet = std::vector<ChoiceAlternative>;

/// Weights that make the right alternatives likeliest, none below 0, by Newton steps with a weak pull to 0. Questions whose alternatives
/// are all wrong or all right tell nothing and are left out; a figure that never differs keeps weight 0.
std::array<double, kChoiceFigures> fit_choice(const std::vector<ChoiceSet>& sets);

}  // namespace alluvium::experiments
