#include "qa_llama_cpp.h"

#include <fstream>

#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "peer_process.h"
#include "temporary_directory.h"

namespace alluvium::experiments {

std::vector<PeerAnswer> ask_llama_cpp(const std::string& script, const std::string& decoder,
                                      const std::vector<std::vector<backbone::TokenId>>& prompts,
                                      int64_t threads, int64_t max_tokens) {
  const TemporaryDirectory directory;
  const std::string file = directory.path() + "/prompts.json";
  std::ofstream(file) << nlohmann::json(prompts);
  const auto given = nlohmann::json::parse(run_peer(
      "--llama-cpp", script, {decoder, file, std::to_string(threads), std::to_string(max_tokens)}));
  ALLUVIUM_CHECK(given.size() == prompts.size(), "--llama-cpp: {} answers to {} prompts",
                 given.size(), prompts.size());
  std::vector<PeerAnswer> answers;
  for (const nlohmann::json& answer : given) {
    answers.push_back({.text = answer.at("text").get<std::string>(),
                       .first_token_ms = answer.at("first_token_ms").get<double>(),
                       .total_ms = answer.at("total_ms").get<double>(),
                       .read_tokens = answer.at("read_tokens").get<int64_t>(),
                       .answer_tokens = answer.at("answer_tokens").get<int64_t>()});
  }
  return answers;
}

}  // namespace alluvium::experiments
