#include <fstream>

#include "alluvium/backbone/decoder.h"
#include "alluvium/core/error.h"
#include "alluvium/experiments/bench.h"
#include "alluvium/experiments/calibration.h"
#include "alluvium/experiments/qa_bench.h"
#include "alluvium/learners/adapter_file.h"
#include "alluvium/learners/lora.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::tests {
namespace {

using experiments::QaBenchOptions;
using experiments::QaReport;

QaBenchOptions small_bench(const TemporaryDirectory& directory, const std::string& encoder) {
  std::ofstream(directory / "documents.jsonl")
      << R"({"id": "oslo", "title": "Oslo", "text": "The harbour of Oslo has nine piers."})" << '\n'
      << R"({"id": "riga", "title": "Riga", "text": "Seven cranes stand in Riga."})" << '\n'
      << R"({"id": "bari", "title": "Bari", "text": "Ferries leave Bari each night at ten."})"
      << '\n';
  std::ofstream(directory / "questions.jsonl")
      << R"({"id": "1", "question": "How many piers has the harbour?", "answers": ["nine"], "doc_id": "oslo"})"
      << '\n'
      << R"({"id": "2", "question": "When do ferries leave Bari?", "answers": ["at ten"], "doc_id": "bari"})"
      << '\n'
      << R"({"id": "3", "question": "Why is the sky blue?", "answers": []})" << '\n';
  QaBenchOptions options;
  options.documents = directory / "documents.jsonl";
  options.questions = directory / "questions.jsonl";
  options.retrievals = {"gold", "withheld", "bm25", "hybrid"};
  options.top_k = {1, 2};
  options.compose = {"choose", "together", "sequence", "blend", "reuse"};
  options.configuration = service::default_configuration();
  options.configuration.directory = directory / "instance";
  options.configuration.models.decoder = write_tiny_llama_gguf(directory.path(), 1);
  options.configuration.models.encoder = encoder;
  options.configuration.prompt.prefix = "<|endoftext|>Read. ";
  options.configuration.prompt.max_chunk_tokens = 96;
  options.configuration.answer.max_tokens = 4;
  options.configuration.answer.choice.least_share = 0;  // a small corpus: every hit is a candidate
  return options;
}

TEST_CASE("bench qa: every combination has its row, and retrieval finds the named documents",
          "[experiments][qa]") {
  const auto encoder = default_encoder_path();
  if (!encoder) {
    WARN("skipped: the default encoder is not installed");
    return;
  }
  const bool over_sockets = GENERATE(false, true);
  CAPTURE(over_sockets);
  const TemporaryDirectory directory;
  QaBenchOptions options = small_bench(directory, *encoder);
  options.over_sockets = over_sockets;
  const QaReport report = experiments::measure_qa(options);

  // none; text and kv: gold and withheld once, bm25 and hybrid for one document and for two in five ways.
  REQUIRE(report.rows.size() == 1 + 2 * (2 + 2 * 6));
  CHECK(report.documents == 3);
  CHECK(report.rows[0].codec == "none");
  CHECK(report.rows[0].memory_slots_mean < report.rows[1].memory_slots_mean);
  for (const experiments::QaRow& row : report.rows) {
    CAPTURE(row.codec, row.retrieval, row.top_k);
    CHECK(row.questions == 3);
    CHECK(row.fallbacks == 0);
    CHECK(row.first_token_ms_p50 > 0);
    CHECK(row.answer_ms_p50 >= row.first_token_ms_p50);
    CHECK(row.answer_ms_mean > 0);
    CHECK(row.answer_ms_mean <= row.answer_ms_p99);
    CHECK(row.peak_rss_bytes > 0);
    CHECK((row.bytes_per_document > 0) == (row.codec != "none"));
    CHECK((row.read_tokens_per_s > 0) == (row.codec != "none"));
    // BM25 finds a single document for most of these questions: nothing to choose.
    if (row.retrieval != "bm25") {
      CHECK((row.choose_ms_mean > 0) == (row.compose == "choose"));
    }
    CHECK((row.compose.empty()) == (row.top_k < 2));
    if (row.codec != "kv" || (row.compose != "blend" && row.compose != "reuse")) {
      CHECK(row.recomputed_tokens_mean == 0);
    }
    if (row.retrieval == "gold") {
      CHECK_THAT(row.first_right, Catch::Matchers::WithinAbs(200.0 / 3, 0.01));
    }
  }
  REQUIRE(report.confidence.size() == 2);
  for (const experiments::ConfidenceRow& row : report.confidence) {
    CHECK(row.answers == 6);
    CHECK(row.risk_coverage_area > 0.5);  // the tiny model knows nothing
    CHECK(row.risk_coverage_area <= 1);
    CHECK(row.refused_unanswerable == 0);
  }
  REQUIRE(report.recall.size() == 2);
  for (const experiments::RecallRow& row : report.recall) {
    CHECK(row.questions == 2);
    CHECK(row.recall_at_1 == 100);
    CHECK(row.recall_at_10 == 100);
  }
}

TEST_CASE("bench qa: unknown words are refused before anything is published", "[experiments][qa]") {
  QaBenchOptions options;
  options.codecs = {"zip"};
  CHECK_THROWS_AS(experiments::measure_qa(options), InvalidArgument);
  options.codecs = {"kv"};
  options.retrievals = {"guess"};
  CHECK_THROWS_AS(experiments::measure_qa(options), InvalidArgument);
  options.retrievals = {"bm25"};
  options.compose = {"mix"};
  CHECK_THROWS_AS(experiments::measure_qa(options), InvalidArgument);
  options.compose = {"choose"};
  options.top_k = {0};
  CHECK_THROWS_AS(experiments::measure_qa(options), InvalidArgument);
}

TEST_CASE("calibrate: fits on a small bank, and refuses what it cannot do", "[experiments][qa]") {
  CHECK(experiments::run_calibrate({"--help"}) == 0);
  CHECK(experiments::run_calibrate({}) == 2);
  const auto encoder = default_encoder_path();
  if (!encoder) {
    WARN("skipped: the default encoder is not installed");
    return;
  }
  const TemporaryDirectory directory;
  const QaBenchOptions bench = small_bench(directory, *encoder);
  const auto set = [](const std::string& key, const std::string& value) {
    return fmt::format("{}={}", key, value);
  };
  std::vector<std::string> arguments = {
      "--documents", bench.documents,
      "--questions", bench.questions,
      "--reader",    "none",
      "--set",       set("models.decoder", bench.configuration.models.decoder),
      "--set",       set("models.encoder", *encoder),
      "--set",       "prompt.prefix=<|endoftext|>Read. ",
      "--set",       "prompt.max_chunk_tokens=96",
      "--set",       "answer.max_tokens=4"};
  CHECK(experiments::run_calibrate(arguments) == 0);
  arguments.push_back("--write");  // the bare decoder has no manifest
  CHECK_THROWS_AS(experiments::run_calibrate(arguments), InvalidArgument);
  arguments.back() = "--candidates=1";
  CHECK_THROWS_AS(experiments::run_calibrate(arguments), InvalidArgument);

  // A reader's manifest takes up weights, confidence and threshold.
  const auto checkpoint = backbone::open_checkpoint(bench.configuration.models.decoder);
  const auto decoder = backbone::load_decoder(*checkpoint, backbone::reference_policy(1));
  learners::AdapterManifest manifest;
  manifest.name = "careful";
  manifest.settings["no_answer"] = "nobody says so";
  const std::string reader = directory / "careful";
  learners::save_adapter(reader, learners::Lora(*decoder, {.rank = 1}).copy(), manifest);
  arguments.back() = "--write";
  arguments[5] = reader;
  REQUIRE(experiments::run_calibrate(arguments) == 0);
  const auto metrics =
      learners::load_adapter(reader, decoder->geometry().layers, decoder->model()).manifest.metrics;
  for (const char* name :
       {"choice_retrieval_weight", "choice_question_weight", "choice_evidence_weight",
        "confidence_intercept", "confidence_slope", "confidence_evidence", "refused_answerable"}) {
    CAPTURE(name);
    CHECK(metrics.count(name) == 1);
  }
  CHECK(metrics.at("refuse_above") > 0);
  CHECK(metrics.at("refuse_above") < 1);
}

TEST_CASE("bench: help is done, a missing option is usage", "[experiments]") {
  CHECK(experiments::run_bench({"--help"}) == 0);
  CHECK(experiments::run_bench({"qa", "--help"}) == 0);
  CHECK(experiments::run_bench({}) == 2);
  CHECK(experiments::run_bench({"nothing"}) == 2);
  CHECK(experiments::run_bench({"qa", "--limit", "3"}) == 2);
  CHECK(experiments::run_bench({"crash", "--kills", "none"}) == 2);
}

TEST_CASE("bench qa: each preset has a store of its own, and its rows say which",
          "[experiments][qa]") {
  const auto encoder = default_encoder_path();
  if (!encoder) {
    WARN("skipped: the default encoder is not installed");
    return;
  }
  const TemporaryDirectory directory;
  QaBenchOptions options = small_bench(directory, *encoder);
  options.codecs = {"text", "kv"};
  options.presets = {"lossless", "safe"};
  options.retrievals = {"gold"};
  options.limit = 2;
  const QaReport report = experiments::measure_qa(options);
  REQUIRE(report.rows.size() == 3);
  CHECK(report.documents <= 2);  // only those the questions name
  CHECK(report.rows[0].codec == "text");
  CHECK(report.rows[0].preset.empty());
  CHECK(report.rows[1].preset == "lossless");
  CHECK(report.rows[2].preset == "safe");
  CHECK(report.rows[2].bytes_per_document < report.rows[1].bytes_per_document);
  CHECK(report.rows[1].f1 == report.rows[0].f1);
  options.presets = {"huge"};
  CHECK_THROWS_AS(experiments::measure_qa(options), InvalidArgument);
}

TEST_CASE("bench qa: two readers of one name and version are refused", "[experiments][qa]") {
  const auto encoder = default_encoder_path();
  if (!encoder) {
    WARN("skipped: the default encoder is not installed");
    return;
  }
  const TemporaryDirectory directory;
  QaBenchOptions options = small_bench(directory, *encoder);
  options.codecs = {"text"};
  options.retrievals = {"gold"};
  const auto checkpoint = backbone::open_checkpoint(options.configuration.models.decoder);
  const auto decoder = backbone::load_decoder(*checkpoint, backbone::reference_policy(1));
  learners::AdapterManifest manifest;
  manifest.name = "twin";
  for (const char* name : {"one", "two"}) {
    learners::save_adapter(directory / name, learners::Lora(*decoder, {.rank = 1}).copy(),
                           manifest);
  }
  options.readers = {"none", directory / "one"};
  CHECK(experiments::measure_qa(options).rows.size() == 2);
  options.readers.push_back(directory / "two");
  CHECK_THROWS_WITH(experiments::measure_qa(options), Catch::Contains("is a second twin@"));
}

}  // namespace
}  // namespace alluvium::tests
