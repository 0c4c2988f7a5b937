#include "alluvium/memory_bank/chunk_reuse.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace alluvium::memory_bank {
namespace {

double sum(const std::vector<double>& numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), 0.0);
}

bool contains(std::span<const int64_t> chunks, int64_t chunk) {
  return std::find(chunks.begin(), chunks.end(), chunk) != chunks.end();
}

}  // namespace

double cache_context_impact(const ChunkContext& context) {
  const auto tokens = static_cast<double>(context.tokens);
  const auto layers = static_cast<double>(context.within.size());
  double outward = 0;
  for (const ChunkContext::Predecessor& other : context.before) {
    outward += sum(other.attention) / layers / (tokens * static_cast<double>(other.tokens));
  }
  const double inward = sum(context.within) / layers / (tokens * tokens);
  return outward == 0 ? 0.5 : 1 / (1 + std::exp(-outward / inward));
}

double prefix_overlap(const ChunkContext& context, std::span<const int64_t> now) {
  double all = 0;
  double common = 0;
  for (const ChunkContext::Predecessor& other : context.before) {
    const double attention = sum(other.attention);
    all += attention;
    common += contains(now, other.chunk) ? attention : 0;
  }
  if (all == 0) {
    return now.empty() ? 1 : 0;
  }
  return common / all;
}

double order_penalty(std::span<const int64_t> then, std::span<const int64_t> now) {
  std::vector<std::ptrdiff_t> places;  // now, of the chunks in both, as they stood then
  for (const int64_t chunk : then) {
    const auto found = std::find(now.begin(), now.end(), chunk);
    if (found != now.end()) {
      places.push_back(found - now.begin());
    }
  }
  int64_t turned = 0;
  for (std::size_t i = 0; i < places.size(); ++i) {
    for (std::size_t j = i + 1; j < places.size(); ++j) {
      turned += places[j] < places[i] ? 1 : 0;
    }
  }
  const auto n = static_cast<double>(places.size());
  return n < 2 ? 0 : static_cast<double>(turned) / (n * (n - 1) / 2);
}

double fix_overhead(const ChunkContext& context, std::span<const int64_t> now, double alpha) {
  std::vector<int64_t> then;
  for (const ChunkContext::Predecessor& other : context.before) {
    then.push_back(other.chunk);
  }
  const double overlap = prefix_overlap(context, now) * (1 - order_penalty(then, now));
  return std::clamp(alpha * cache_context_impact(context) * (1 - overlap), 0.0, 1.0);
}

int64_t tokens_to_fix(double overhead, int64_t tokens) {
  return std::min(static_cast<int64_t>(std::ceil(overhead * static_cast<double>(tokens))), tokens);
}

std::vector<int64_t> most_outward(std::span<const float> outward, int64_t count) {
  std::vector<int64_t> tokens(outward.size());
  std::iota(tokens.begin(), tokens.end(), int64_t{0});
  std::stable_sort(tokens.begin(), tokens.end(), [&](int64_t a, int64_t b) {
    return outward[static_cast<std::size_t>(a)] > outward[static_cast<std::size_t>(b)];
  });
  tokens.resize(static_cast<std::size_t>(count));
  std::sort(tokens.begin(), tokens.end());
  return tokens;
}

std::size_t ChunkVariant::resident_bytes() const {
  const std::size_t layers = context.within.size();
  return memory->resident_bytes() + outward.size() * sizeof(float) +
         (1 + context.before.size()) * layers * sizeof(double);
}

}  // namespace alluvium::memory_bank
