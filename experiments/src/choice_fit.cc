#include "choice_fit.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "newton_step.h"

namespace alluvium::experiments {
namespace {

using Figures = std::array<double, kChoiceFigures>;

constexpr int kSteps = 60;
constexpr int kHalvings = 30;
constexpr double kPull = 1e-4;  // a question counts 1
constexpr double kEnough = 1e-9;

double score(const Figures& weights, const ChoiceAlternative& alternative) {
  double sum = 0;
  for (std::size_t i = 0; i < kChoiceFigures; ++i) {
    sum += weights[i] * alternative.figures[i];
  }
  return sum;
}

/// Log-likelihood of the right alternatives, its gradient and the negative of its curvature.
struct Likelihood {
  double value = 0;
  Figures gradient{};
  std::array<Figures, kChoiceFigures> curvature{};
};

/// Adds the mean and covariance of the figures under the softmax over `set`, of all of them or of the right ones, times `sign`.
void add_part(const ChoiceSet& set, const Figures& weights, bool only_right, double sign,
              Likelihood& total) {
  double highest = -INFINITY;
  for (const ChoiceAlternative& alternative : set) {
    if (!only_right || alternative.right) {
      highest = std::max(highest, score(weights, alternative));
    }
  }
  double sum = 0;
  Figures mean{};
  std::array<Figures, kChoiceFigures> square{};
  for (const ChoiceAlternative& alternative : set) {
    if (only_right && !alternative.right) {
      continue;
    }
    const double p = std::exp(score(weights, alternative) - highest);
    sum += p;
    for (std::size_t i = 0; i < kChoiceFigures; ++i) {
      mean[i] += p * alternative.figures[i];
      for (std::size_t j = 0; j < kChoiceFigures; ++j) {
        square[i][j] += p * alternative.figures[i] * alternative.figures[j];
      }
    }
  }
  total.value += sign * (highest + std::log(sum));
  for (std::size_t i = 0; i < kChoiceFigures; ++i) {
    total.gradient[i] += sign * mean[i] / sum;
    for (std::size_t j = 0; j < kChoiceFigures; ++j) {
      total.curvature[i][j] -= sign * (square[i][j] / sum - mean[i] * mean[j] / (sum * sum));
    }
  }
}

Likelihood likelihood(const std::vector<ChoiceSet>& sets, const Figures& weights) {
  Likelihood total;
  for (const ChoiceSet& set : sets) {
    add_part(set, weights, true, 1, total);
    add_part(set, weights, false, -1, total);
  }
  for (std::size_t i = 0; i < kChoiceFigures; ++i) {
    total.value -= kPull / 2 * weights[i] * weights[i];
    total.gradient[i] -= kPull * weights[i];
    total.curvature[i][i] += kPull;
  }
  return total;
}

/// The Newton step over the free figures.
Figures free_step(Likelihood at, const std::array<bool, kChoiceFigures>& free) {
  for (std::size_t i = 0; i < kChoiceFigures; ++i) {
    if (!free[i]) {
      at.gradient[i] = 0;
      for (std::size_t j = 0; j < kChoiceFigures; ++j) {
        at.curvature[i][j] = at.curvature[j][i] = i == j ? 1 : 0;
      }
    }
  }
  return newton_step(at.curvature, at.gradient);
}

}  // namespace

std::array<double, kChoiceFigures> fit_choice(const std::vector<ChoiceSet>& all) {
  std::vector<ChoiceSet> sets;
  for (const ChoiceSet& set : all) {
    const auto right = std::count_if(set.begin(), set.end(), [](const auto& a) { return a.right; });
    if (right > 0 && right < static_cast<std::ptrdiff_t>(set.size())) {
      sets.push_back(set);
    }
  }
  Figures weights{};
  for (int i = 0; i < kSteps; ++i) {
    const Likelihood here = likelihood(sets, weights);
    // A weight that stands at 0 and would go below stays there.
    std::array<bool, kChoiceFigures> free{};
    for (std::size_t k = 0; k < kChoiceFigures; ++k) {
      free[k] = weights[k] > 0 || here.gradient[k] > 0;
    }
    const Figures step = free_step(here, free);
    double moved = 0;
    double length = 1;
    for (int halving = 0; halving < kHalvings; ++halving, length /= 2) {
      Figures next = weights;
      moved = 0;
      for (std::size_t k = 0; k < kChoiceFigures; ++k) {
        next[k] = std::max(0.0, weights[k] + length * step[k]);
        moved += std::abs(next[k] - weights[k]);
      }
      if (likelihood(sets, next).value >= here.value) {
        weights = next;
        break;
      }
      moved = 0;
    }
    if (moved < kEnough) {
      break;
    }
  }
  return weights;
}

}  // namespace alluvium::experiments
