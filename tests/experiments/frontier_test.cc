#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "alluvium/core/error.h"
#include "alluvium/experiments/bench.h"
#include "alluvium/experiments/frontier_bench.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::tests {
namespace {

using Catch::Matchers::WithinAbs;
using experiments::FrontierAnswer;
using experiments::FrontierOptions;
using experiments::FrontierRow;
using experiments::FrontierSetting;

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

FrontierOptions small_frontier(const TemporaryDirectory& directory) {
  std::string text;
  for (int i = 0; i < 9; ++i) {
    text += "Crane " + std::to_string(i) + " lifts. ";
  }
  std::ofstream(directory / "documents.jsonl")
      << R"({"id": "oslo", "title": "Oslo", "text": ")" << text << R"("})" << '\n'
      << R"({"id": "riga", "title": "Riga", "text": "Seven cranes stand in Riga."})" << '\n';
  std::ofstream(directory / "questions.jsonl")
      << R"({"id": "1", "question": "Which crane?", "answers": ["Crane 3"], "doc_id": "oslo"})"
      << '\n'
      << R"({"id": "2", "question": "How many?", "answers": ["Seven"], "doc_id": "riga"})" << '\n'
      << R"({"id": "3", "question": "What lifts?", "answers": ["Crane 0"], "doc_id": "oslo"})"
      << '\n';
  FrontierOptions options;
  options.documents = directory / "documents.jsonl";
  options.questions = directory / "questions.jsonl";
  options.directory = directory / "out";
  options.configuration = service::default_configuration();
  options.configuration.models.decoder = write_tiny_llama_gguf(directory.path(), 1);
  options.configuration.prompt.prefix = "<|endoftext|>Read. ";
  options.configuration.prompt.document = "{title}: {text}\n";
  options.configuration.prompt.question = "Q {question} A";
  options.configuration.prompt.max_chunk_tokens = 120;
  options.configuration.answer.max_tokens = 4;
  options.settings = experiments::frontier_grid("presets");
  options.settings.push_back(experiments::parse_frontier_setting("keep=0.4,observer=random"));
  return options;
}

}  // namespace

TEST_CASE("bench frontier: every setting answers every question, and its bytes are its record's",
          "[experiments][frontier]") {
  const TemporaryDirectory directory;
  const FrontierOptions options = small_frontier(directory);
  const auto result = experiments::measure_frontier(options);
  CHECK(result.answers.size() == 3 * options.settings.size());
  const auto rows = experiments::summarise_frontier(options.settings, result.answers,
                                                    result.bytes_per_token_16_bit);
  REQUIRE(rows.size() == options.settings.size());
  CHECK(rows[0].setting == "closed book");
  CHECK(rows[0].bytes_per_document == 0);
  CHECK_THAT(rows[1].of_text, WithinAbs(rows[1].f1 > 0 ? 100 : 0, 1e-9));
  CHECK(rows[2].setting == "lossless");
  CHECK(rows[2].kl < 1e-6);  // it is what the others are compared with
  CHECK(rows[2].f1 == rows[1].f1);
  for (std::size_t i = 3; i < rows.size() - 1; ++i) {
    CHECK(rows[i].bytes_per_document < rows[i - 1].bytes_per_document);
    CHECK(rows[i].kl > 0);
  }

  // Interrupted in the middle of a line, it goes on and comes to the same answers.
  const std::string path = options.directory + "/answers.jsonl";
  const std::string whole = content(path);
  std::filesystem::resize_file(path, 2 * whole.size() / 3);
  const auto resumed = experiments::measure_frontier(options);
  REQUIRE(resumed.answers.size() == result.answers.size());
  for (std::size_t i = 0; i < result.answers.size(); ++i) {
    CHECK(resumed.answers[i].setting == result.answers[i].setting);
    CHECK(resumed.answers[i].question == result.answers[i].question);
    CHECK(resumed.answers[i].f1 == result.answers[i].f1);
    CHECK(resumed.answers[i].bytes == result.answers[i].bytes);
  }

  // In two parts, joined: the same answers, and nothing is measured again. One ended before its first document has none.
  FrontierOptions part = options;
  part.shards = 2;
  std::string joined;
  int64_t drawn = 0;
  for (part.shard = 0; part.shard < part.shards; ++part.shard) {
    part.directory = options.directory + "/part" + std::to_string(part.shard);
    part.stop = [] { return true; };
    const auto ended = experiments::measure_frontier(part);
    CHECK(ended.answered == 0);
    CHECK(ended.answers.empty());
    part.stop = nullptr;
    drawn += ended.drawn;
    CHECK(experiments::measure_frontier(part).answered == ended.drawn);
    joined += content(part.directory + "/answers.jsonl");
  }
  CHECK(drawn == 3);
  FrontierOptions of_both = options;
  of_both.directory = options.directory + "/joined";
  of_both.stop = [] { return true; };
  std::filesystem::create_directories(of_both.directory);
  std::ofstream(of_both.directory + "/answers.jsonl") << joined;
  const auto from_parts = experiments::measure_frontier(of_both);
  CHECK(from_parts.answered == 3);
  REQUIRE(from_parts.answers.size() == result.answers.size());
  for (std::size_t i = 0; i < result.answers.size(); ++i) {
    CHECK(from_parts.answers[i].question == result.answers[i].question);
    CHECK(from_parts.answers[i].f1 == result.answers[i].f1);
  }
  part.shard = 2;
  CHECK_THROWS_AS(experiments::measure_frontier(part), InvalidArgument);

  // Under another prompt nothing of it counts; back under the first, nothing is measured again.
  const auto lines = [&] {
    const std::string text = content(path);
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  };
  REQUIRE(lines() == result.answers.size());
  FrontierOptions other = options;
  other.configuration.prompt.question = "Asked: {question}\nAnswer:";
  experiments::measure_frontier(other);
  CHECK(lines() == 2 * result.answers.size());
  experiments::measure_frontier(options);
  CHECK(lines() == 2 * result.answers.size());
}

TEST_CASE("bench frontier: a shard that is none is told by its name", "[experiments][frontier]") {
  for (const char* shard : {"", "2", "2/", "/5", "2/5x", "one/two", "2/5/7"}) {
    CAPTURE(shard);
    CHECK_THROWS_WITH(
        experiments::run_frontier_bench({"--documents", "none.jsonl", "--questions", "none.jsonl",
                                         "--out", "none", "--shard", shard}),
        Catch::Contains("--shard is I/N") && Catch::Contains(shard));
  }
}

TEST_CASE("bench frontier: means, shares and paired intervals", "[experiments][frontier]") {
  const std::vector<FrontierSetting> settings = {
      {.name = "text", .kind = FrontierSetting::Kind::text, .options = {}},
      {.name = "half", .options = {}}};
  std::vector<FrontierAnswer> answers;
  for (int question = 0; question < 40; ++question) {
    const double f1 = question % 4 == 0 ? 1.0 : 0.0;
    answers.push_back({.setting = "text",
                       .question = std::to_string(question),
                       .made_under = {},
                       .f1 = f1,
                       .bytes = 400,
                       .tokens = 100});
    answers.push_back({.setting = "half",
                       .question = std::to_string(question),
                       .made_under = {},
                       .f1 = f1 / 2,
                       .bytes = 115200,
                       .tokens = 100});
  }
  const std::vector<FrontierRow> rows = experiments::summarise_frontier(settings, answers, 23040);
  CHECK_THAT(rows[0].f1, WithinAbs(25, 1e-9));
  CHECK(rows[0].f1_low < 20);
  CHECK(rows[0].f1_high > 30);
  CHECK_THAT(rows[1].f1, WithinAbs(12.5, 1e-9));
  // Always half of the text's, whatever is drawn: the pairing leaves no spread.
  CHECK_THAT(rows[1].of_text, WithinAbs(50, 1e-9));
  CHECK_THAT(rows[1].of_text_low, WithinAbs(50, 1e-9));
  CHECK_THAT(rows[1].of_text_high, WithinAbs(50, 1e-9));
  CHECK_THAT(rows[1].bytes_per_token, WithinAbs(1152, 1e-9));
  CHECK_THAT(rows[1].share_of_16_bit, WithinAbs(5, 1e-9));
  const std::string svg = experiments::plot_frontier(rows);
  CHECK_THAT(svg, Catch::Matchers::StartsWith("<svg") && Catch::Matchers::Contains("half"));
}

TEST_CASE("bench frontier: a reader's rows are compared with its own reading of the text",
          "[experiments][frontier]") {
  const std::vector<FrontierSetting> plain = {
      {.name = "text", .kind = FrontierSetting::Kind::text, .options = {}},
      {.name = "half", .options = {}}};
  const auto settings = experiments::with_readers(plain, {"none", "readers/keen/"});
  REQUIRE(settings.size() == 4);
  CHECK(settings[1].name == "half");
  CHECK(settings[1].reader == "none");
  CHECK(settings[3].name == "half + keen");
  CHECK(settings[3].reader == "readers/keen/");
  std::vector<FrontierAnswer> answers;
  const std::vector<double> f1 = {0.2, 0.1, 0.8, 0.6};
  for (std::size_t i = 0; i < settings.size(); ++i) {
    answers.push_back({.setting = settings[i].name,
                       .question = "q",
                       .made_under = {},
                       .f1 = f1[i],
                       .bytes = 100,
                       .tokens = 10});
  }
  const auto rows = experiments::summarise_frontier(settings, answers, 23040);
  CHECK_THAT(rows[1].of_text, WithinAbs(50, 1e-9));
  CHECK_THAT(rows[3].of_text, WithinAbs(75, 1e-9));
  CHECK(rows[3].reader == "readers/keen/");
}

TEST_CASE("bench frontier: settings by name", "[experiments][frontier]") {
  const auto setting = experiments::parse_frontier_setting("keep=0.3,key_bits=4,value_bits=2");
  CHECK(setting.options.keep == 0.3);
  CHECK(setting.options.key_bits == 4);
  CHECK(setting.options.value_bits == 2);
  const auto coded =
      experiments::parse_frontier_setting("preset=tiny,entropy=rans,residual_rank=4");
  CHECK(coded.options.entropy == "rans");
  CHECK(coded.options.residual_rank == 4);
  const auto mixed =
      experiments::parse_frontier_setting("preset=default,tail_bits=2,quantiser=cachegen");
  CHECK(mixed.options.tail_bits == 2);
  CHECK(mixed.options.quantiser == "cachegen");
  CHECK_THROWS_AS(experiments::parse_frontier_setting("entropy=gzip"), InvalidArgument);
  CHECK_THROWS_AS(experiments::parse_frontier_setting("keep"), InvalidArgument);
  CHECK_THROWS_AS(experiments::parse_frontier_setting("kept=0.3"), InvalidArgument);
  CHECK_THROWS_AS(experiments::parse_frontier_setting("keep=most"), InvalidArgument);
  CHECK_THROWS_AS(experiments::parse_frontier_setting("observer=oracle,keep=0.5"), InvalidArgument);
  CHECK_THROWS_AS(experiments::frontier_grid("huge"), InvalidArgument);
  CHECK(experiments::frontier_grid("full").size() > experiments::frontier_grid("small").size());
}

}  // namespace alluvium::tests
