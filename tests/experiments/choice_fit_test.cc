#include "choice_fit.h"

#include <cmath>

#include "alluvium/core/random.h"
#include "support/catch.h"

namespace alluvium::experiments {
namespace {

using Catch::Matchers::WithinAbs;

/// Questions of five alternatives, the right one drawn by these weights.
std::vector<ChoiceSet> drawn(const std::array<double, kChoiceFigures>& weights, int questions) {
  Random random(5);
  std::vector<ChoiceSet> sets;
  for (int q = 0; q < questions; ++q) {
    ChoiceSet set(5);
    std::vector<double> p;
    double total = 0;
    for (ChoiceAlternative& alternative : set) {
      double score = 0;
      for (std::size_t i = 0; i < kChoiceFigures; ++i) {
        alternative.figures[i] = random.normal();
        score += weights[i] * alternative.figures[i];
      }
      p.push_back(std::exp(score));
      total += p.back();
    }
    double at = random.uniform() * total;
    std::size_t right = 0;
    while (right + 1 < set.size() && (at -= p[right]) > 0) {
      ++right;
    }
    set[right].right = true;
    sets.push_back(set);
  }
  return sets;
}

}  // namespace

TEST_CASE("choice fit: finds the weights that the choices were drawn by",
          "[experiments][choice_fit]") {
  const auto weights = fit_choice(drawn({2, 0.5, 1}, 20000));
  CHECK_THAT(weights[0], WithinAbs(2, 0.06));
  CHECK_THAT(weights[1], WithinAbs(0.5, 0.04));
  CHECK_THAT(weights[2], WithinAbs(1, 0.04));
}

TEST_CASE("choice fit: no weight is below 0", "[experiments][choice_fit]") {
  const auto weights = fit_choice(drawn({1, -0.5, 0}, 5000));
  CHECK_THAT(weights[0], WithinAbs(1, 0.1));
  CHECK(weights[1] == 0);
  CHECK(weights[2] < 0.05);
}

TEST_CASE("choice fit: what tells nothing changes nothing", "[experiments][choice_fit]") {
  CHECK(fit_choice({}) == std::array<double, kChoiceFigures>{});
  std::vector<ChoiceSet> sets = drawn({2, 0.5, 1}, 500);
  const auto weights = fit_choice(sets);
  sets.push_back({{{5, 5, 5}, false}, {{-1, 0, 0}, false}});  // none right
  sets.push_back({{{5, 5, 5}, true}, {{-1, 0, 0}, true}});    // all right
  const auto again = fit_choice(sets);
  for (std::size_t i = 0; i < kChoiceFigures; ++i) {
    CHECK_THAT(again[i], WithinAbs(weights[i], 1e-12));
  }
  for (ChoiceSet& set : sets) {
    for (ChoiceAlternative& alternative : set) {
      alternative.figures[2] = 7;
    }
  }
  CHECK_THAT(fit_choice(sets)[2], WithinAbs(0, 1e-9));
}

// Two alternatives, one figure, three of four times the higher one is right: P = 1 / (1 + exp(-w)) = 3/4, so w = ln 3.
TEST_CASE("choice fit: by hand", "[experiments][choice_fit]") {
  std::vector<ChoiceSet> sets;
  for (int q = 0; q < 400; ++q) {
    sets.push_back({{{1, 0, 0}, q % 4 != 0}, {{0, 0, 0}, q % 4 == 0}});
  }
  CHECK_THAT(fit_choice(sets)[0], WithinAbs(std::log(3.0), 1e-4));
}

}  // namespace alluvium::experiments
