#include <filesystem>
#include <fstream>

#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <fmt/format.h>

#include "alluvium/backbone/decoder.h"
#include "alluvium/backbone/safetensors.h"
#include "alluvium/core/error.h"
#include "alluvium/experiments/training.h"
#include "alluvium/learners/adapter_file.h"
#include "alluvium/memory_bank/kv_basis.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::tests {
namespace {

struct Bench {
  Bench() {
    std::ofstream documents(directory / "documents.jsonl");
    std::ofstream questions(directory / "questions.jsonl");
    for (int i = 0; i < 8; ++i) {
      documents
          << fmt::format(
                 R"({{"id": "d{0}", "title": "t", "text": "Pier {0} has crane{0} and light{0}."}})",
                 i)
          << '\n';
      questions
          << fmt::format(
                 R"({{"id": "q{0}", "question": "Crane?", "answers": ["crane{0}"], "doc_id": "d{0}", "part": "{1}"}})",
                 i, i < 6 ? "train" : "held")
          << '\n';
    }
    std::ofstream(directory / "alluvium.toml")
        << "[models]\ndecoder = \"" << write_tiny_llama_gguf(directory.path(), 1)
        << "\"\ndtype = \"f32\"\nthreads = 1\n[prompt]\nprefix = \"<|endoftext|>Read. \"\n"
           "max_chunk_tokens = 64\n[answer]\nmax_tokens = 4\n";
  }

  std::vector<std::string> arguments(const std::string& out, int steps) const {
    return {"reader",
            "--documents",
            directory / "documents.jsonl",
            "--questions",
            directory / "questions.jsonl",
            "--where",
            "part=train",
            "--validation-where",
            "part=held",
            "--steps",
            std::to_string(steps),
            "--rows",
            "60",
            "--rank",
            "2",
            "--documents-per-question",
            "2",
            "--unanswerable",
            "0.2",
            "--preset",
            "lossless,compact",
            "--validate-every",
            "2",
            "--checkpoint-every",
            "1",
            "--name",
            "tiny",
            "--out",
            out,
            "--config",
            directory / "alluvium.toml"};
  }

  TemporaryDirectory directory;
};

at::Tensor parameters_of(const std::string& out) {
  return backbone::load_safetensors(out + "/training/checkpoint.safetensors").at("parameters");
}

}  // namespace

TEST_CASE("train reader: from JSON lines to an adapter that loads, over several codecs",
          "[experiments][train]") {
  const Bench bench;
  const std::string out = bench.directory / "out";
  REQUIRE(experiments::run_train(bench.arguments(out, 4)) == 0);
  const auto checkpoint = backbone::open_checkpoint(bench.directory / "tiny.gguf");
  const auto decoder = backbone::load_decoder(*checkpoint, backbone::reference_policy(1));
  const auto adapter = learners::load_adapter(out, decoder->geometry().layers, decoder->model());
  CHECK(adapter.manifest.name == "tiny");
  CHECK(adapter.manifest.settings.at("no_answer") == "not in the passage");
  CHECK(adapter.manifest.metrics.count("f1") == 1);
  CHECK(adapter.manifest.metrics.count("confidence_slope") == 1);
  CHECK(adapter.manifest.command.find("--rank 2") != std::string::npos);
  CHECK_NOTHROW(decoder->prepare(adapter.state));
  CHECK(std::filesystem::exists(out + "/training/curve.svg"));

  // The same command finds nothing left to do, and a second run of it gives the same bytes.
  const at::Tensor before = parameters_of(out);
  CHECK(experiments::run_train(bench.arguments(out, 4)) == 0);
  CHECK(at::equal(parameters_of(out), before));
  // With another length of the run it would have been another run.
  CHECK_THROWS_WITH(experiments::run_train(bench.arguments(out, 5)),
                    Catch::Contains("other options"));
  const std::string again = bench.directory / "again";
  REQUIRE(experiments::run_train(bench.arguments(again, 4)) == 0);
  CHECK(at::equal(parameters_of(again), before));
}

TEST_CASE("train reader: memories kept on the disk train as those made anew",
          "[experiments][train]") {
  const Bench bench;
  const auto train = [&](const std::string& name, bool cached) {
    const std::string out = bench.directory / name;
    std::vector<std::string> arguments = bench.arguments(out, 4);
    if (cached) {
      arguments.insert(arguments.end(), {"--memory-cache", bench.directory / "memories"});
    }
    REQUIRE(experiments::run_train(arguments) == 0);
    return parameters_of(out);
  };
  const at::Tensor expected = train("made", false);
  CHECK(at::equal(train("kept", true), expected));
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(bench.directory / "memories")) {
    CHECK(entry.path().extension() == ".kv");
    files.push_back(entry.path());
  }
  REQUIRE(files.size() > 6);  // two codecs
  CHECK(at::equal(train("found", true), expected));
  // A damaged one is made again.
  std::filesystem::resize_file(files.front(), std::filesystem::file_size(files.front()) - 1);
  CHECK(at::equal(train("mended", true), expected));
  // Where none can be kept the run ends with the reason.
  std::ofstream(bench.directory / "file") << "x";
  std::vector<std::string> arguments = bench.arguments(bench.directory / "nowhere", 4);
  arguments.insert(arguments.end(), {"--memory-cache", bench.directory / "file"});
  CHECK_THROWS_AS(experiments::run_train(arguments), ResourceExhausted);
}

TEST_CASE("train reader: what validates is not trained on, also where both come from one file",
          "[experiments][train]") {
  const Bench bench;
  const std::string out = bench.directory / "out";
  REQUIRE(experiments::run_train({"reader", "--documents", bench.directory / "documents.jsonl",
                                  "--questions", bench.directory / "questions.jsonl",
                                  "--validation-limit", "3", "--steps", "1", "--rows", "60",
                                  "--rank", "1", "--out", out, "--config",
                                  bench.directory / "alluvium.toml"}) == 0);
  const auto checkpoint = backbone::open_checkpoint(bench.directory / "tiny.gguf");
  const auto decoder = backbone::load_decoder(*checkpoint, backbone::reference_policy(1));
  const auto adapter = learners::load_adapter(out, decoder->geometry().layers, decoder->model());
  CHECK(adapter.manifest.data == "5 questions over 5 documents");
}

TEST_CASE("train average: the mean of two readers on the disk", "[experiments][train]") {
  const Bench bench;
  const std::string one = bench.directory / "one";
  const std::string two = bench.directory / "two";
  const std::string mean = bench.directory / "mean";
  std::vector<std::string> with_seed = bench.arguments(two, 2);
  with_seed.insert(with_seed.end(), {"--seed", "5"});
  REQUIRE(experiments::run_train(bench.arguments(one, 2)) == 0);
  REQUIRE(experiments::run_train(with_seed) == 0);
  const auto average = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {
        "average", one, two, "--out", mean, "--config", bench.directory / "alluvium.toml"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return experiments::run_train(arguments);
  };
  REQUIRE(average({"--weights", "3,1", "--adapter-version", "7"}) == 0);
  const auto checkpoint = backbone::open_checkpoint(bench.directory / "tiny.gguf");
  const auto decoder = backbone::load_decoder(*checkpoint, backbone::reference_policy(1));
  const auto load = [&](const std::string& path) {
    return learners::load_adapter(path, decoder->geometry().layers, decoder->model());
  };
  const auto found = load(mean);
  CHECK(found.manifest.name == "tiny");
  CHECK(found.manifest.version == 7);
  CHECK(found.manifest.settings.at("no_answer") == "not in the passage");
  CHECK_THAT(found.manifest.data, Catch::Contains("0.75 of tiny@1"));
  const auto q = [](const learners::StoredAdapter& adapter) {
    return adapter.state.layers[0][backbone::Projection::q].a;
  };
  CHECK(at::allclose(q(found), q(load(one)).lerp(q(load(two)), 0.25), 1e-2, 1e-4));
  CHECK_THROWS_WITH(average({"--weights", "1"}), Catch::Contains("1 numbers for 2 adapters"));
}

TEST_CASE("train basis: text gives one, its questions another", "[experiments][train]") {
  const Bench bench;
  const auto train = [&](const std::string& name, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"basis",
                                          "--documents",
                                          bench.directory / "documents.jsonl",
                                          "--out",
                                          bench.directory / name,
                                          "--config",
                                          bench.directory / "alluvium.toml"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    REQUIRE(experiments::run_train(arguments) == 0);
    return memory_bank::load_kv_basis(bench.directory / name);
  };
  const auto plain = train("plain", {});
  CHECK(plain.digest == train("again", {}).digest);
  CHECK(plain.digest != train("fewer", {"--limit", "3"}).digest);
  const auto asked = train("asked", {"--questions", bench.directory / "questions.jsonl"});
  CHECK(asked.digest != plain.digest);
  CHECK(at::equal(asked.values.analysis, plain.values.analysis));  // questions meet keys alone
  // The reader's own questions.
  REQUIRE(experiments::run_train(bench.arguments(bench.directory / "reader", 2)) == 0);
  const auto read = train("read", {"--questions", bench.directory / "questions.jsonl", "--reader",
                                   bench.directory / "reader"});
  CHECK(read.digest != asked.digest);
  // It is what a memory is written in when the configuration names it.
  CHECK(experiments::run_train({"reader",
                                "--documents",
                                bench.directory / "documents.jsonl",
                                "--questions",
                                bench.directory / "questions.jsonl",
                                "--steps",
                                "1",
                                "--rows",
                                "60",
                                "--rank",
                                "1",
                                "--validation-limit",
                                "2",
                                "--preset",
                                "tiny",
                                "--memory-cache",
                                bench.directory / "memories",
                                "--out",
                                bench.directory / "out",
                                "--config",
                                bench.directory / "alluvium.toml",
                                "--set",
                                "codec.basis=" + (bench.directory / "read")}) == 0);
  int records = 0;
  for (const auto& entry : std::filesystem::directory_iterator(bench.directory / "memories")) {
    std::ifstream file(entry.path(), std::ios::binary);
    file.seekg(4);
    CHECK(file.get() == 6);  // the record's version: steps along a basis
    ++records;
  }
  CHECK(records > 0);
}

TEST_CASE("train: what cannot be trained is said with exit code 2", "[experiments][train]") {
  CHECK(experiments::run_train({}) == 2);
  CHECK(experiments::run_train({"poet"}) == 2);
  CHECK(experiments::run_train({"reader", "--steps", "3"}) == 2);
  CHECK(experiments::run_train({"--help"}) == 0);
  CHECK(experiments::run_train({"reader", "--help"}) == 0);
  CHECK(experiments::run_train({"average", "only-one", "--out", "x"}) == 2);
}

}  // namespace alluvium::tests
