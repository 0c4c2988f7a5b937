#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include "alluvium/core/error.h"
#include "alluvium/selectors/clustering.h"
#include "alluvium/selectors/near_duplicates.h"
#include "copy_index.h"
#include "model_selectors.h"
#include "state_json.h"

namespace alluvium::selectors {
namespace {

class D4Selector final : public Selector {
 public:
  explicit D4Selector(const SelectorOptions& options)
      : embedder_(options.embedder),
        threads_(options.threads),
        near_copy_(options.duplicate_threshold),
        copies_(options.seed, std::numeric_limits<int64_t>::max()),
        clusters_(options.clusters),
        copy_(options.semantic_duplicate),
        kept_(options.d4_kept),
        seed_(options.seed) {}

  std::string label() const override {
    return fmt::format("d4 {} kept, {} clusters, copies from {} by words, above {}, seed {}", kept_,
                       clusters_, near_copy_, copy_, seed_);
  }

  bool needs_targets() const override { return false; }
  void set_targets(std::shared_ptr<const TargetSet>) override {}
  bool observes() const override { return true; }
  bool needs_whole_pool() const override { return true; }

  // Copies by their words leave first, and are never embedded.
  void observe(std::span<const Sample> samples) override {
    const std::vector<Fingerprint> prints = copies_.fingerprints(samples, threads_);
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const std::optional<CopyIndex::Earlier> earlier = copies_.find(prints[i]);
      if (earlier && earlier->is_copy(near_copy_)) {
        outcomes_[samples[i].arrival] = {
            0, Verdict::retire,
            fmt::format("{} copy of row {} (similarity {:.2f})", earlier->exact ? "exact" : "near",
                        arrivals_[static_cast<std::size_t>(earlier->number)] + 1,
                        earlier->similarity)};
        continue;
      }
      copies_.insert(prints[i]);
      arrivals_.push_back(samples[i].arrival);
      texts.push_back(samples[i].text);
    }
    if (texts.empty()) {
      return;
    }
    for (std::vector<float>& row : embedder_->embed(texts)) {
      normalise_(row);
      rows_.append(row);
    }
  }

  void end_observing() override {
    if (rows_.rows() == 0) {
      return;
    }
    const std::vector<float> similarities = similarity_in_clusters();
    // The share kept is of all rows that words left, most alike first to go, wherever their cluster.
    std::vector<int64_t> order(similarities.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return similarities[static_cast<std::size_t>(a)] < similarities[static_cast<std::size_t>(b)];
    });
    const auto keep = std::max<std::ptrdiff_t>(
        1, static_cast<std::ptrdiff_t>(std::ceil(kept_ * static_cast<double>(order.size()))));
    std::vector<int64_t> survivors;
    for (std::ptrdiff_t place = 0; place < std::ssize(order); ++place) {
      const int64_t i = order[static_cast<std::size_t>(place)];
      const float similarity = similarities[static_cast<std::size_t>(i)];
      const int64_t arrival = arrivals_[static_cast<std::size_t>(i)];
      if (static_cast<double>(similarity) > copy_) {
        outcomes_[arrival] = {0, Verdict::retire,
                              fmt::format("cosine {:.4f} to an earlier row", similarity)};
      } else if (place >= keep) {
        outcomes_[arrival] = {0, Verdict::refuse,
                              fmt::format("cosine {:.4f} to an earlier row: not among the {} % "
                                          "least alike",
                                          similarity, 100 * kept_)};
      } else {
        survivors.push_back(i);
      }
    }
    std::sort(survivors.begin(), survivors.end());
    const RowMatrix left = rows_.pick(survivors);
    const Clustering prototypes = cluster(left);
    for (std::size_t s = 0; s < survivors.size(); ++s) {
      std::vector<float> centroid(prototypes.centroids.row(prototypes.labels[s]).begin(),
                                  prototypes.centroids.row(prototypes.labels[s]).end());
      normalise_(centroid);
      const float cosine = dot(left.row(static_cast<int64_t>(s)), centroid);
      outcomes_[arrivals_[static_cast<std::size_t>(survivors[s])]] = {
          1 - static_cast<double>(cosine), Verdict::rank, {}};
    }
    rows_ = {};
    arrivals_.clear();
    copies_.restore(0, {});
  }

  std::vector<Score> score(std::span<const Sample> samples) override {
    std::vector<Score> scores;
    for (const Sample& sample : samples) {
      const auto found = outcomes_.find(sample.arrival);
      ALLUVIUM_CHECK(found != outcomes_.end(), "d4 has not observed row {}", sample.arrival + 1);
      scores.push_back(found->second);
    }
    return scores;
  }

  std::string explain(const Sample&, double score) override {
    return fmt::format("cosine {:.4f} to the prototype of its cluster", 1 - score);
  }

  std::string save() const override {
    nlohmann::json prints = nlohmann::json::array();
    for (const Fingerprint& print : copies_.prints()) {
      prints.push_back(fingerprint_to_json(print));
    }
    return pack_state({{"outcomes", outcomes_to_json(outcomes_)},
                       {"prints", prints},
                       {"rows", rows_to_json(rows_)},
                       {"arrivals", arrivals_}});
  }

  void restore(std::string_view state) override {
    unpack_state(state, label(), [this](const nlohmann::json& saved) {
      std::map<int64_t, Score> outcomes = outcomes_from_json(saved.at("outcomes"));
      RowMatrix rows = rows_from_json(saved.at("rows"));
      auto arrivals = saved.at("arrivals").get<std::vector<int64_t>>();
      std::vector<Fingerprint> prints;
      for (const nlohmann::json& print : saved.at("prints")) {
        prints.push_back(fingerprint_from_json(print.at(0), print.at(1)));
      }
      if (std::ssize(arrivals) != rows.rows() || prints.size() != arrivals.size()) {
        throw DataCorruption(fmt::format("state of selector d4: {} rows, {} places, {} prints",
                                         rows.rows(), arrivals.size(), prints.size()));
      }
      copies_.restore(0, prints);
      arrivals_ = std::move(arrivals);
      rows_ = std::move(rows);
      outcomes_ = std::move(outcomes);
    });
  }

 private:
  Clustering cluster(const RowMatrix& rows) const {
    KMeansOptions options;
    options.clusters =
        std::min(rows.rows(), clusters_ > 0 ? clusters_ : choose_clusters(rows, seed_));
    options.seed = seed_;
    return k_means(rows, options);
  }

  // To the most similar earlier row of the same cluster.
  std::vector<float> similarity_in_clusters() const {
    const Clustering found = cluster(rows_);
    std::vector<float> similarities(static_cast<std::size_t>(rows_.rows()));
    for (int64_t k = 0; k < found.centroids.rows(); ++k) {
      std::vector<int64_t> members;
      for (int64_t i = 0; i < rows_.rows(); ++i) {
        if (found.labels[static_cast<std::size_t>(i)] == k) {
          members.push_back(i);
        }
      }
      const std::vector<float> own = similarity_to_earlier(rows_.pick(members));
      for (std::size_t j = 0; j < members.size(); ++j) {
        similarities[static_cast<std::size_t>(members[j])] = own[j];
      }
    }
    return similarities;
  }

  std::shared_ptr<const TextEmbedder> embedder_;
  int64_t threads_;
  double near_copy_;
  CopyIndex copies_;  // of the texts of rows_
  int64_t clusters_;
  double copy_;
  double kept_;
  uint64_t seed_;
  RowMatrix rows_;
  std::vector<int64_t> arrivals_;      // of rows_
  std::map<int64_t, Score> outcomes_;  // by arrival
};

}  // namespace

std::unique_ptr<Selector> make_d4(const SelectorOptions& options) {
  if (options.embedder == nullptr) {
    throw NotSupported("selector d4 needs an encoder");
  }
  ALLUVIUM_CHECK(options.duplicate_threshold > 0 && options.duplicate_threshold <= 1,
                 "duplicate_threshold must be in (0, 1], got {}", options.duplicate_threshold);
  ALLUVIUM_CHECK(options.clusters >= 0, "clusters must not be negative, got {}", options.clusters);
  ALLUVIUM_CHECK(options.semantic_duplicate > 0 && options.semantic_duplicate <= 1,
                 "semantic_duplicate must lie in (0, 1], got {}", options.semantic_duplicate);
  ALLUVIUM_CHECK(options.d4_kept > 0 && options.d4_kept <= 1, "d4_kept must lie in (0, 1], got {}",
                 options.d4_kept);
  return std::make_unique<D4Selector>(options);
}

}  // namespace alluvium::selectors
