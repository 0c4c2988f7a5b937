#include "alluvium/selectors/expert_entropy.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>
#include <vector>

namespace alluvium::selectors {
namespace {

constexpr int kBins = 50;
constexpr double kReach = 4;  // deviations

double entropy_of(std::span<const double> weights) {
  double total = 0;
  for (const double weight : weights) {
    total += weight;
  }
  double bits = 0;
  for (const double weight : weights) {
    if (weight > 0) {
      bits -= weight / total * std::log2(weight / total);
    }
  }
  return bits;
}

double scale_free(const std::vector<double>& standardised) {
  std::array<double, kBins> counts{};
  for (const double z : standardised) {
    const double place = (std::clamp(z, -kReach, kReach) + kReach) / (2 * kReach) * kBins;
    ++counts[static_cast<std::size_t>(std::min<double>(kBins - 1, std::floor(place)))];
  }
  return entropy_of(counts);
}

// As published, the edges' unit included.
double reference(const std::vector<double>& standardised, double deviation) {
  std::array<double, kBins - 1> counts{};
  const auto edge = [&](int i) { return kReach * deviation * (2.0 * i / (kBins - 1) - 1); };
  double counted = 0;
  for (const double z : standardised) {
    for (int i = 0; i + 1 < kBins; ++i) {
      if (z > edge(i) && z <= edge(i + 1)) {
        ++counts[static_cast<std::size_t>(i)];
        ++counted;
        break;
      }
    }
  }
  if (counted == 0) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  for (double& count : counts) {
    count = count == 0 ? std::numeric_limits<double>::epsilon() : count / counted;
  }
  return entropy_of(counts);
}

}  // namespace

double expert_entropy(std::span<const double> scores, EntropyRule rule) {
  std::vector<double> finite;
  std::copy_if(scores.begin(), scores.end(), std::back_inserter(finite),
               [](double score) { return std::isfinite(score); });
  if (finite.empty()) {
    return 0;
  }
  const auto n = static_cast<double>(finite.size());
  double mean = 0;
  for (const double score : finite) {
    mean += score / n;
  }
  double variance = 0;
  for (const double score : finite) {
    variance += (score - mean) * (score - mean) / n;
  }
  const double deviation = std::sqrt(variance);
  if (deviation < 1e-12) {
    return 0;
  }
  for (double& score : finite) {
    score = (score - mean) / deviation;
  }
  return rule == EntropyRule::scale_free ? scale_free(finite) : reference(finite, deviation);
}

}  // namespace alluvium::selectors
