#include "alluvium/experiments/crash_bench.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::tests {
namespace {

TEST_CASE(
    "crash: a service killed under load recompressing and compacting loses and doubles nothing",
    "[experiments][crash][service]") {
  const auto encoder = default_encoder_path();
  if (!encoder) {
    WARN("skipped: the default encoder is not installed");
    return;
  }
  const TemporaryDirectory directory;
  experiments::CrashBenchOptions options;
  options.kills = 5;
  options.seed = 7;
  options.documents = 40;
  options.longest_life_ms = 400;
  options.program = ALLUVIUM_PROGRAM;
  options.directory = directory / "instance";
  const auto set = [&](const std::string& assignment) {
    options.serve_arguments.insert(options.serve_arguments.end(), {"--set", assignment});
  };
  set("models.decoder=" + write_tiny_llama_gguf(directory.path(), 1));
  set("models.encoder=" + *encoder);
  set("prompt.prefix=<|endoftext|>Read. ");
  set("prompt.max_chunk_tokens=128");

  const experiments::CrashReport report = experiments::measure_crashes(options);
  for (const std::string& fault : report.faults) {
    UNSCOPED_INFO(fault);
  }
  CHECK(report.faults.empty());
  CHECK(report.kills == 5);
  CHECK(report.lost == 0);
  CHECK(report.doubled == 0);
  CHECK(report.without_memory == 0);
  CHECK(report.operations_acknowledged > 0);
  CHECK(report.recompressions > 0);
  CHECK(report.not_recompressed == 0);
  CHECK(report.documents_present >= report.documents_expected);
}

}  // namespace
}  // namespace alluvium::tests
