// What a round of Adapt-inf is on the disk, and back.
#include <cmath>
#include <utility>

#include "alluvium/core/error.h"
#include "alluvium/selectors/adapt_inf.h"
#include "state_json.h"

namespace alluvium::selectors {

using nlohmann::json;

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

std::string AdaptInf::save() const {
  json members = json::array();
  for (const Member& member : pool_) {
    const Sample& sample = member.sample;
    json scores = json::array();
    for (const double score : member.scored.scores) {
      scores.push_back(std::isfinite(score) ? json(score) : json());
    }
    members.push_back({sample.id, sample.text, sample.arrival, sample.document, sample.prompt,
                       sample.answer, member.scored.answer_tokens, scores,
                       numbers_to_json(member.scored.sketch), numbers_to_json(member.semantic),
                       member.scored_in, member.picked_in, member.cluster, member.pinned,
                       member.pending});
  }
  json excluded = json::array();
  for (const Excluded& sample : excluded_) {
    excluded.push_back({sample.id, sample.reason});
  }
  return pack_state({{"identity", identity()},
                     {"members", members},
                     {"centroids", rows_to_json(centroids_)},
                     {"chosen_clusters", chosen_clusters_},
                     {"chosen_at", chosen_at_},
                     {"round", round_},
                     {"in_round", in_round_},
                     {"scored", scored_},
                     {"excluded", excluded}});
}

void AdaptInf::restore(std::string_view state) {
  unpack_state(state, "adapt_inf", [this](const json& saved) {
    if (const auto belongs_to = saved.at("identity").get<std::string>(); belongs_to != identity()) {
      throw DataCorruption(fmt::format("state of selector adapt_inf: made under '{}', this is '{}'",
                                       belongs_to, identity()));
    }
    std::vector<Member> pool;
    std::map<std::string, std::size_t, std::less<>> places;
    for (const json& row : saved.at("members")) {
      Member member;
      member.sample.id = row.at(0).get<std::string>();
      member.sample.text = row.at(1).get<std::string>();
      member.sample.arrival = row.at(2).get<int64_t>();
      member.sample.document = row.at(3).get<std::string>();
      member.sample.prompt = row.at(4).get<std::string>();
      member.sample.answer = row.at(5).get<std::string>();
      member.scored.answer_tokens = row.at(6).get<int64_t>();
      for (std::size_t e = 0; e < kExperts; ++e) {
        const json& score = row.at(7).at(e);
        if (!score.is_null()) {
          member.scored.scores[e] = score.get<double>();
        }
      }
      member.scored.sketch = numbers_from_json(row.at(8));
      member.semantic = numbers_from_json(row.at(9));
      member.scored_in = row.at(10).get<int64_t>();
      member.picked_in = row.at(11).get<int64_t>();
      member.cluster = row.at(12).get<int64_t>();
      member.pinned = row.at(13).get<bool>();
      member.pending = row.at(14).get<bool>();
      places.emplace(member.sample.id, pool.size());
      pool.push_back(std::move(member));
    }
    std::vector<Excluded> excluded;
    for (const json& row : saved.at("excluded")) {
      excluded.push_back({row.at(0).get<std::string>(), row.at(1).get<std::string>()});
    }
    RowMatrix centroids = rows_from_json(saved.at("centroids"));
    for (const Member& member : pool) {
      if (member.cluster < -1 || member.cluster >= centroids.rows()) {
        throw DataCorruption(fmt::format("state of selector adapt_inf: cluster {} of {}",
                                         member.cluster, centroids.rows()));
      }
    }
    const auto chosen_clusters = saved.at("chosen_clusters").get<int64_t>();
    const auto chosen_at = saved.at("chosen_at").get<int64_t>();
    const auto round = saved.at("round").get<int64_t>();
    const auto in_round = saved.at("in_round").get<bool>();
    const auto scored = saved.at("scored").get<int64_t>();
    // Nothing below throws: a state that is no state changes nothing.
    pool_ = std::move(pool);
    places_ = std::move(places);
    excluded_ = std::move(excluded);
    centroids_ = std::move(centroids);
    chosen_clusters_ = chosen_clusters;
    chosen_at_ = chosen_at;
    round_ = round;
    in_round_ = in_round;
    scored_ = scored;
  });
}

}  // namespace alluvium::selectors
