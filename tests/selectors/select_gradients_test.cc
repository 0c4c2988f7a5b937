// `alluvium select` by selectors that ask a decoder for gradients.
#include <limits>

#include "select_program.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::tests {
namespace {

TEST_CASE("select: less reads questions and answers, and says what it cannot learn from",
          "[selectors][service]") {
  const Bed bed(1, 1);
  const std::string model = write_tiny_llama_gguf(bed.directory.path(), 7);
  std::vector<std::string> pool;
  for (int i = 0; i < 8; ++i) {
    const json answers = json::array({std::to_string(i)});
    pool.push_back(json{{"id", i}, {"question", "how old is it"}, {"answers", answers}}.dump());
  }
  pool.push_back(json{{"id", "plain"}, {"text", "It rained all day and all night."}}.dump());
  pool.push_back(
      json{{"id", "unanswered"}, {"question", "why"}, {"answers", json::array()}}.dump());
  pool.push_back(json{{"id", "odd"}, {"question", 5}}.dump());
  bed.write("pool.jsonl", Bed::joined(pool));
  bed.write("targets.jsonl",
            Bed::joined({json{{"prompt", "how old is it "}, {"answer", "3"}}.dump()}));
  const std::string decoder = " --set models.decoder=" + model;
  const Outcome less = bed.select(
      "--selector less --top 20 --explain --target {}/targets.jsonl --pool {}/pool.jsonl" +
      decoder);
  CAPTURE(less.err);
  CHECK(less.exit_code == 1);  // one line is no sample
  CHECK(lines_of(less.out).size() == 9);
  CHECK(less.out.find("mean cosine to the targets' gradients") != std::string::npos);
  CHECK(less.err.find("unanswered: has no answer tokens") != std::string::npos);
  CHECK(less.err.find("field 'question' must be a string") != std::string::npos);

  const Outcome budget =
      bed.select("--selector adapt_inf --budget-tokens 10 --pool {}/pool.jsonl" + decoder);
  CHECK(budget.exit_code != 0);
  CHECK(budget.err.find("--top is needed") != std::string::npos);
}

// A PEFT adapter of the tiny model: one column on the attention's output, all of one value.
void write_adapter(const std::string& directory, float value) {
  constexpr int64_t kWidth = TinyLlama::kModelWidth;
  const std::string numbers = bytes_of(std::vector<float>(kWidth, value));
  const std::string factor = "base_model.model.model.layers.0.self_attn.o_proj.lora_";
  std::filesystem::create_directories(directory);
  write_file(directory + "/adapter_model.safetensors",
             safetensors_bytes({{factor + "A.weight", "F32", {1, kWidth}, numbers},
                                {factor + "B.weight", "F32", {kWidth, 1}, numbers}}));
  write_file(directory + "/adapter_config.json",
             json{{"peft_type", "LORA"}, {"r", 1}, {"lora_alpha", 1}}.dump());
}

TEST_CASE("select: with an adapter that is not finite every row is refused and says why",
          "[selectors][service][slow]") {
  const Bed bed(1, 1);
  const std::string model = write_tiny_llama_gguf(bed.directory.path(), 7);
  write_adapter(bed.directory / "sound", 0.01F);
  write_adapter(bed.directory / "broken", std::numeric_limits<float>::quiet_NaN());
  std::vector<std::string> pool;
  for (int i = 0; i < 5; ++i) {
    pool.push_back(
        json{{"id", i}, {"prompt", "how old is it "}, {"answer", std::to_string(i)}}.dump());
  }
  bed.write("pool.jsonl", Bed::joined(pool));
  const std::string common =
      "--top 5 --pool {}/pool.jsonl --set models.decoder=" + model + " --adapter {}/";
  const std::string less = "--selector less --target {}/targets.jsonl ";
  CHECK(lines_of(bed.select(less + common + "sound").out).size() == 5);
  const Outcome no_target = bed.select(less + common + "broken");
  CHECK(no_target.exit_code == 1);
  CHECK(no_target.out.empty());
  CHECK_THAT(no_target.err, Catch::Contains("no target gives a gradient; the first: its loss or "
                                            "gradient is not finite"));
  if (!default_encoder_path()) {
    WARN("skipped: the default encoder is not installed");
    return;
  }
  const std::string adapt_inf = "--selector adapt_inf --clusters 1 --semantic-duplicate 1 ";
  CHECK(lines_of(bed.select(adapt_inf + common + "sound").out).size() == 5);
  const Outcome no_row = bed.select(adapt_inf + common + "broken");
  CAPTURE(no_row.err);
  CHECK(no_row.exit_code == 0);
  CHECK(no_row.out.empty());
  CHECK_THAT(no_row.err, Catch::Contains("0 of 5 rows picked"));
  CHECK_THAT(no_row.err, Catch::Contains("5 rows were refused, the first: 0: its loss or gradient "
                                         "is not finite"));
}

TEST_CASE("select: adapt_inf with the default models, over a pool and round by round over a log",
          "[selectors][service][slow]") {
  if (!default_decoder_path() || !default_encoder_path()) {
    WARN("skipped: the default models are not installed");
    return;
  }
  const Bed bed(1, 1);
  const auto asked = [](int i) {
    return json{{"id", i},
                {"question", "How old is the bridge of village " + std::to_string(i) + "?"},
                {"context", "The bridge of village " + std::to_string(i) + " was built " +
                                std::to_string(100 + 7 * i) + " years ago."},
                {"answers", json::array({std::to_string(100 + 7 * i) + " years"})}}
        .dump();
  };
  std::vector<std::string> pool;
  for (int i = 0; i < 8; ++i) {
    pool.push_back(asked(i));
  }
  pool.push_back(json{{"id", "same"}, {"text", "It rained all day and all night."}}.dump());
  pool.push_back(json{{"id", "copy"}, {"text", "It rained all day and all night."}}.dump());
  bed.write("pool.jsonl", Bed::joined(pool));
  const std::string common = "--selector adapt_inf --clusters 2 --top 3 --explain --pool ";
  const Outcome once = bed.select(common + "{}/pool.jsonl --semantic-duplicate 0.999");
  CAPTURE(once.err);
  CHECK(once.exit_code == 0);
  REQUIRE(lines_of(once.out).size() == 3);
  CHECK(once.out.find("picked) by ") != std::string::npos);

  const std::string round = common + "{}/pool.jsonl --log {}/log --semantic-duplicate 0.999";
  const Outcome first = bed.select(round);
  CAPTURE(first.err);
  CHECK(first.exit_code == 0);
  REQUIRE(lines_of(first.out).size() == 3);
  CHECK(json::parse(lines_of(first.out)[0]).at("selection").at("round") == 1);
  CHECK(first.err.find("9 samples in the log") != std::string::npos);
  bed.write("pool.jsonl", Bed::joined({asked(3), asked(20)}));
  const Outcome second = bed.select(round);
  CHECK(second.exit_code == 0);
  CHECK(second.err.find("round 2: 3 picked; 2 rows came, 1 of them known") != std::string::npos);

  const Outcome wrong = bed.select("--selector random --top 1 --pool {}/pool.jsonl --log {}/log");
  CHECK(wrong.exit_code == 1);
  CHECK(wrong.err.find("--log is of adapt_inf") != std::string::npos);
  const Outcome less = bed.select(
      "--selector less --top 1 --target {}/pool.jsonl --pool {}/pool.jsonl --memories {}/log");
  CHECK(less.exit_code == 1);
  CHECK(less.err.find("--memories is of adapt_inf") != std::string::npos);
}

}  // namespace
}  // namespace alluvium::tests
