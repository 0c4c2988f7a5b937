#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>
#include <utility>

#include "baseline_selectors.h"
#include "state_json.h"
#include "words.h"
#include "workers.h"

namespace alluvium::selectors {
namespace {

constexpr double kSaturation = 1.2;
constexpr double kLengthShare = 0.75;

class Bm25Selector final : public Selector {
 public:
  explicit Bm25Selector(const SelectorOptions& options) : threads_(options.threads) {}

  std::string label() const override { return "bm25"; }
  bool observes() const override { return true; }

  // Scores add up over query terms, so all targets are one query whose terms count as often as they occur.
  void set_targets(std::shared_ptr<const TargetSet> targets) override {
    validate_targets(*targets);
    terms_.clear();
    for (const std::string& text : targets->texts) {
      for (const std::string& word : split_words(text, Punctuation::drop)) {
        terms_[word].weight += 1.0 / static_cast<double>(targets->texts.size());
      }
    }
    documents_ = 0;
    words_ = 0;
  }

  // Only the targets' terms are counted: memory does not grow with the pool.
  void observe(std::span<const Sample> samples) override {
    for (const Sample& sample : samples) {
      const std::vector<std::string> words = split_words(sample.text, Punctuation::drop);
      ++documents_;
      words_ += static_cast<int64_t>(words.size());
      std::set<Term*> found;
      for (const std::string& word : words) {
        if (const auto term = terms_.find(word); term != terms_.end()) {
          found.insert(&term->second);
        }
      }
      for (Term* term : found) {
        ++term->holders;
      }
    }
  }

  std::vector<Score> score(std::span<const Sample> samples) override {
    ALLUVIUM_CHECK(!terms_.empty(), "bm25 has no targets with words in them");
    std::vector<Score> scores(samples.size());
    run_by_bytes(samples, threads_, [&](std::size_t, std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        scores[i].value = score_text(samples[i].text).value;
      }
    });
    return scores;
  }

  std::string explain(const Sample& sample, double score) override {
    const Detail detail = score_text(sample.text);
    return fmt::format("BM25 {:.3f}, most by '{}'", score, detail.best_word);
  }

  std::string save() const override {
    nlohmann::json holders = nlohmann::json::object();
    for (const auto& [word, term] : terms_) {
      holders[word] = term.holders;
    }
    return pack_state({{"documents", documents_}, {"words", words_}, {"holders", holders}});
  }

  void restore(std::string_view bytes) override {
    unpack_state(bytes, "bm25", [this](const nlohmann::json& state) {
      documents_ = state.at("documents").get<int64_t>();
      words_ = state.at("words").get<int64_t>();
      for (auto& [word, term] : terms_) {
        term.holders = state.at("holders").at(word).get<int64_t>();
      }
    });
  }

 private:
  struct Term {
    double weight = 0;    // mean occurrences in a target
    int64_t holders = 0;  // samples that have it
  };

  struct Detail {
    double value = 0;
    std::string best_word;
  };

  Detail score_text(const std::string& text) const {
    const std::vector<std::string> words = split_words(text, Punctuation::drop);
    std::unordered_map<std::string_view, double> counts;
    std::vector<std::string_view> order;  // of first occurrence: sums do not depend on a hash table
    for (const std::string& word : words) {
      if (terms_.contains(word) && counts[word]++ == 0) {
        order.push_back(word);
      }
    }
    const auto documents = static_cast<double>(documents_);
    const double length =
        words_ == 0 ? 1
                    : static_cast<double>(words.size()) * documents / static_cast<double>(words_);
    const double norm = kSaturation * (1 - kLengthShare + kLengthShare * length);
    Detail detail;
    double most = 0;
    for (const std::string_view word : order) {
      const Term& term = terms_.at(std::string(word));
      const auto holders = static_cast<double>(term.holders);
      const double idf = std::log(1 + (documents - holders + 0.5) / (holders + 0.5));
      const double count = counts[word];
      const double part = term.weight * idf * count * (kSaturation + 1) / (count + norm);
      detail.value += part;
      if (part > most) {
        most = part;
        detail.best_word = word;
      }
    }
    return detail;
  }

  int64_t threads_;
  std::unordered_map<std::string, Term> terms_;
  int64_t documents_ = 0;
  int64_t words_ = 0;
};

}  // namespace

std::unique_ptr<Selector> make_bm25(const SelectorOptions& options) {
  return std::make_unique<Bm25Selector>(options);
}

}  // namespace alluvium::selectors
