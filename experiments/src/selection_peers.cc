#include "selection_peers.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "alluvium/selectors/ranking.h"
#include "alluvium/service/configuration.h"
#include "temporary_directory.h"

namespace alluvium::experiments {
namespace {

std::string output_of(const std::string& command) {
  std::FILE* pipe = popen(command.c_str(), "r");
  ALLUVIUM_CHECK(pipe != nullptr, "--peers: cannot start a shell");
  std::string output;
  std::array<char, 4096> buffer{};
  while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.append(buffer.data(), n);
  }
  const int status = pclose(pipe);
  ALLUVIUM_CHECK(status == 0, "--peers: the peer failed (status {}): {}", status, command);
  return output;
}

}  // namespace

SelectionMeasure measure_peer(const std::string& script, const std::string& peer,
                              const SelectionTask& task, int64_t threads, int64_t picks) {
  const std::string python = service::cache_directory() + "/peers/bin/python";
  ALLUVIUM_CHECK(std::filesystem::exists(python),
                 "--peers: the peers are not installed; './run peers' installs them");
  ALLUVIUM_CHECK(std::filesystem::exists(script), "--peers: there is no file {}", script);
  const TemporaryDirectory directory;
  const std::string texts = directory.path() + "/texts.json";
  {
    nlohmann::json sources = nlohmann::json::array();
    for (const selectors::Sample& sample : task.pool) {
      sources.push_back(sample.text);
    }
    std::ofstream(texts) << nlohmann::json{{"sources", sources}, {"targets", task.targets}};
  }
  const nlohmann::json result = nlohmann::json::parse(output_of(
      fmt::format("'{}' '{}' '{}' {} {} 2>/dev/null", python, script, texts, peer, threads)));

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
