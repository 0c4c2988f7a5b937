// What a round of Adapt-inf is outside of it, and back: a head for the pool, and two parts for each sample.
#include <cmath>
#include <utility>

#include "alluvium/core/error.h"
#include "alluvium/selectors/adapt_inf.h"
#include "state_json.h"

namespace alluvium::selectors {
namespace {

using nlohmann::json;

constexpr const char* kName = "adapt_inf";

json binary(const std::string& bytes) { return json::binary({bytes.begin(), bytes.end()}); }

std::string text(const json& bytes) {
  const json::binary_t& binary = bytes.get_binary();
  return {binary.begin(), binary.end()};
}

}  // namespace

std::string AdaptInf::identity() const {
  std::string experts;
  for (const Expert expert : options_.experts) {
    experts += std::string(" ") + to_string(expert);
  }
  return fmt::format(
      "adapt_inf: clusters {}, experts{}, tail {}, duplicate {}, capacity {}, "
      "refresh {} {}, seed {}, dimension {}",
      options_.clusters, experts, options_.tail, options_.semantic_duplicate, options_.capacity,
      options_.refresh_share, options_.refresh_rounds, options_.seed, scorer_->dimension());
}

std::string AdaptInf::head() const {
  json excluded = json::array();
  for (const Excluded& sample : excluded_) {
    excluded.push_back({sample.id, sample.reason});
  }
  return pack_state({{"identity", identity()},
                     {"centroids", rows_to_json(centroids_)},
                     {"chosen_clusters", chosen_clusters_},
                     {"chosen_at", chosen_at_},
                     {"round", round_},
                     {"in_round", in_round_},
                     {"scored", scored_},
                     {"excluded", excluded}});
}

std::string AdaptInf::state_of(const Member& member) {
  return pack_state(
      {member.scored_in, member.picked_in, member.cluster, member.pinned, member.pending});
}

std::string AdaptInf::features_of(const Member& member) {
  json scores = json::array();
  for (const double score : member.scored.scores) {
    scores.push_back(std::isfinite(score) ? json(score) : json());
  }
  return pack_state({member.scored.answer_tokens, scores, numbers_to_json(member.scored.sketch),
                     numbers_to_json(member.semantic)});
}

AdaptInf::Member AdaptInf::member_from(const KeptSample& kept) {
  Member member;
  member.sample = kept.sample;
  unpack_state(kept.state, kName, [&](const json& state) {
    member.scored_in = state.at(0).get<int64_t>();
    member.picked_in = state.at(1).get<int64_t>();
    member.cluster = state.at(2).get<int64_t>();
    member.pinned = state.at(3).get<bool>();
    member.pending = state.at(4).get<bool>();
  });
  unpack_state(kept.features, kName, [&](const json& features) {
    member.scored.answer_tokens = features.at(0).get<int64_t>();
    for (std::size_t e = 0; e < kExperts; ++e) {
      const json& score = features.at(1).at(e);
      if (!score.is_null()) {
        member.scored.scores[e] = score.get<double>();
      }
    }
    member.scored.sketch = numbers_from_json(features.at(2));
    member.semantic = numbers_from_json(features.at(3));
  });
  member.is_kept = true;
  member.state_changed = false;
  member.features_changed = false;
  return member;
}

RoundChanges AdaptInf::take_changes() {
  RoundChanges changes;
  changes.head = head();
  for (Member& member : pool_) {
    if (!member.is_kept) {
      changes.added.push_back({member.sample, state_of(member), features_of(member)});
    } else if (member.state_changed || member.features_changed) {
      changes.changed.push_back(
          {member.sample.id, state_of(member),
           member.features_changed ? std::optional(features_of(member)) : std::nullopt});
    }
    member.is_kept = true;
    member.state_changed = false;
    member.features_changed = false;
  }
  changes.retired = std::exchange(left_, {});
  return changes;
}

std::string AdaptInf::save() const {
  json members = json::array();
  for (const Member& member : pool_) {
    const Sample& sample = member.sample;
    members.push_back({sample.id, sample.text, sample.arrival, sample.document, sample.prompt,
                       sample.answer, binary(state_of(member)), binary(features_of(member))});
  }
  return pack_state({{"head", binary(head())}, {"members", members}});
}

void AdaptInf::restore(std::string_view state) {
  unpack_state(state, kName, [this](const json& saved) {
    std::vector<KeptSample> samples;
    for (const json& row : saved.at("members")) {
      KeptSample kept;
      kept.sample.id = row.at(0).get<std::string>();
      kept.sample.text = row.at(1).get<std::string>();
      kept.sample.arrival = row.at(2).get<int64_t>();
      kept.sample.document = row.at(3).get<std::string>();
      kept.sample.prompt = row.at(4).get<std::string>();
      kept.sample.answer = row.at(5).get<std::string>();
      kept.state = text(row.at(6));
      kept.features = text(row.at(7));
      samples.push_back(std::move(kept));
    }
    restore(text(saved.at("head")), samples);
  });
}

void AdaptInf::restore(std::string_view head, std::span<const KeptSample> samples) {
  AdaptInf restored(options_, *scorer_, embedder_);
  for (const KeptSample& kept : samples) {
    restored.places_.emplace(kept.sample.id, restored.pool_.size());
    restored.pool_.push_back(member_from(kept));
  }
  if (!head.empty()) {
    unpack_state(head, kName, [&](const json& saved) {
      if (const auto of = saved.at("identity").get<std::string>(); of != identity()) {
        throw DataCorruption(fmt::format(
            "state of selector adapt_inf: made under '{}', this is '{}'", of, identity()));
      }
      for (const json& row : saved.at("excluded")) {
        restored.excluded_.push_back({row.at(0).get<std::string>(), row.at(1).get<std::string>()});
      }
      restored.centroids_ = rows_from_json(saved.at("centroids"));
      restored.chosen_clusters_ = saved.at("chosen_clusters").get<int64_t>();
      restored.chosen_at_ = saved.at("chosen_at").get<int64_t>();
      restored.round_ = saved.at("round").get<int64_t>();
      restored.in_round_ = saved.at("in_round").get<bool>();
      restored.scored_ = saved.at("scored").get<int64_t>();
    });
  }
  for (const Member& member : restored.pool_) {
    if (member.cluster < -1 || member.cluster >= restored.centroids_.rows()) {
      throw DataCorruption(fmt::format("state of selector adapt_inf: cluster {} of {}",
                                       member.cluster, restored.centroids_.rows()));
    }
  }
  // A state that is no state has thrown by now and changed nothing.
  *this = std::move(restored);
}

}  // namespace alluvium::selectors
