#include "selection_peers.h"

#include <algorithm>
#include <fstream>

#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "alluvium/selectors/ranking.h"
#include "peer_process.h"
#include "temporary_directory.h"

namespace alluvium::experiments {
SelectionMeasure measure_peer(const std::string& script, const std::string& peer,
                              const SelectionTask& task, int64_t threads, int64_t picks) {
  const TemporaryDirectory directory;
  const std::string texts = directory.path() + "/texts.json";
  {
    nlohmann::json sources = nlohmann::json::array();
    for (const selectors::Sample& sample : task.pool) {
      sources.push_back(sample.text);
    }
    std::ofstream(texts) << nlohmann::json{{"sources", sources}, {"targets", task.targets}};
  }
  const nlohmann::json result =
      nlohmann::json::parse(run_peer("--peers", script, {texts, peer, std::to_string(threads)}));

  SelectionMeasure measure;
  measure.seconds = result.at("seconds").get<double>();
  measure.peak_rss_bytes = result.at("peak_rss_bytes").get<int64_t>();
  measure.scores = result.at("scores").get<std::vector<double>>();
  ALLUVIUM_CHECK(measure.scores.size() == task.pool.size(),
                 "--peers: {} gave {} scores for {} rows", peer, measure.scores.size(),
                 task.pool.size());
  selectors::TopRanking top(picks, 0);
  for (std::size_t i = 0; i < measure.scores.size(); ++i) {
    top.add({measure.scores[i], static_cast<int64_t>(i), 0, {}});
  }
  for (const selectors::Candidate& pick : top.take()) {
    measure.ranked.push_back(pick.arrival);
  }
  return measure;
}

}  // namespace alluvium::experiments
