#include <fstream>

#include <nlohmann/json.hpp>

#include "alluvium/experiments/bench.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::tests {
namespace {

TEST_CASE("soak: a service answers alike after a restart, and its figures are its own",
          "[experiments][soak][service]") {
  const auto encoder = default_encoder_path();
  if (!encoder) {
    WARN("skipped: the default encoder is not installed");
    return;
  }
  const TemporaryDirectory directory;
  const std::string documents = directory / "documents.jsonl";
  {
    std::ofstream file(documents);
    for (int i = 0; i < 30; ++i) {
      file << nlohmann::json{{"id", std::to_string(i)},
                             {"title", "Pier " + std::to_string(i)},
                             {"text", "Pier " + std::to_string(i) + " has a crane. It is green."}}
                  .dump()
           << '\n';
    }
  }
  const std::string json = directory / "soak.json";
  const auto soak = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = {
        "--documents", documents,
        "--limit",     "25",
        "--questions", "10",
        "--json",      json,
        "--program",   ALLUVIUM_PROGRAM,
        "--set",       "models.encoder=" + *encoder,
        "--set",       "models.decoder=" + write_tiny_llama_gguf(directory.path(), 1),
        "--set",       "prompt.prefix=<|endoftext|>Read. ",
        "--set",       "prompt.max_chunk_tokens=128"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return experiments::run_soak_bench(arguments);
  };
  REQUIRE(soak({"--text-bytes", "20"}) == 0);
  std::ifstream file(json);
  const auto report = nlohmann::json::parse(file);
  REQUIRE(report.at("rows").size() == 2);
  CHECK(report.at("faults").empty());
  for (const nlohmann::json& life : report.at("rows")) {
    CHECK(life.at("documents") == 25);
    CHECK(life.at("memories") == 25);
    CHECK(life.at("answers_changed") == 0);
    CHECK(life.at("rss_mb_idle") > 0);
    CHECK(life.at("rss_mb_peak") >= life.at("rss_mb_published"));
    CHECK(life.at("first_token_ms_p50") > 0);
  }
  CHECK_THROWS_WITH(soak({"--set", "memory_bytes=1000"}),
                    Catch::Matchers::Contains("memory_bytes must be at least"));
}

}  // namespace
}  // namespace alluvium::tests
