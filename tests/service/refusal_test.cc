#include "alluvium/service/refusal.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>

#include "alluvium/service/readers.h"
#include "reader_engine.h"
#include "recording_decoder.h"
#include "support/catch.h"

namespace alluvium::tests {
namespace {

/// The engine over the harbours, read by the reader of a directory.
void start_with(ReadEngine& e, const std::string& reader) {
  e.start();
  publish(*e.engine, kHarbours);
  e.engine->readers().load(reader);
}

}  // namespace

TEST_CASE("refusal: a refusal is known by its words", "[service][refusal]") {
  CHECK(service::is_refusal(" Not in the passage.\n", "not in the passage"));
  CHECK_FALSE(service::is_refusal("not in the passage of time", "not in the passage"));
  CHECK_FALSE(service::is_refusal("", "not in the passage"));
}

TEST_CASE(
    "refusal: given that it is no refusal, another word keeps its share and the refusal's first "
    "loses what was the refusal's",
    "[service][refusal]") {
  // Shares 0.5, 0.2 and 0.3; the refusal begins with the first token and has 0.4 of all.
  const at::Tensor logits = at::tensor({0.5F, 0.2F, 0.3F}).log() + 7;
  const at::Tensor others = service::without_refusal(logits, 0, std::log(0.6 / 0.4));
  const at::Tensor shares = at::softmax(others, 0);
  CHECK_THAT(shares[0].item<double>(), Catch::WithinAbs(0.1 / 0.6, 1e-6));
  CHECK_THAT(shares[1].item<double>(), Catch::WithinAbs(0.2 / 0.6, 1e-6));
  CHECK_THAT(shares[2].item<double>(), Catch::WithinAbs(0.3 / 0.6, 1e-6));
  CHECK(logits.equal(at::tensor({0.5F, 0.2F, 0.3F}).log() + 7));
  // Where nothing else begins so, it is not said at all.
  const at::Tensor never = at::softmax(service::without_refusal(logits, 0, std::log(0.5 / 0.5)), 0);
  CHECK(never[0].item<double>() == 0);
  CHECK_THAT(never[1].item<double>(), Catch::WithinAbs(0.4, 1e-6));
}

TEST_CASE("refusal: a cancelled answer that might be withheld says that it was cancelled",
          "[service][refusal]") {
  ReadEngine e;
  e.configuration.reader.refuse_below = 1;
  start_with(e, e.reader("first", 1, 1));
  const Answer answer =
      e.engine->ask(ask_for("piers of Oslo"), [](std::string_view) { return false; });
  CHECK(answer.finish == "cancelled");
}

TEST_CASE("refusal: where a refusal is likelier than the threshold nothing is answered",
          "[service][refusal]") {
  ReadEngine e;
  const auto ask = [&](double refuse_above, const std::string& reader) {
    e.configuration.reader.refuse_above = refuse_above;
    start_with(e, reader);
    service::Question question = ask_for("piers of Oslo");
    question.top_k = GENERATE(1, 2);
    std::string streamed;
    const Answer answer = e.engine->ask(question, [&](std::string_view piece) {
      streamed += piece;
      return true;
    });
    CHECK(streamed == answer.text);
    CHECK(answer.reader == "careful@1");
    CHECK(answer.citations.front().id == "oslo");
    return answer;
  };
  const std::string careful =
      save_reader(e.models, e.directory.path(), "careful", 1, 1, {{"no_answer", "nobody says so"}});
  SECTION("no probability is below nothing") {
    const Answer refused = ask(0, careful);
    CHECK(refused.refused);
    CHECK(refused.text == "nobody says so");
    CHECK(refused.finish == "stop");
    CHECK(refused.answer_tokens == 0);
    const double odds = refused.citations.front().evidence;
    CHECK(odds != 0);
    CHECK_THAT(refused.confidence, Catch::WithinAbs(1 / (1 + std::exp(odds)), 1e-9));
    CHECK_THAT(refused.log_probability, Catch::WithinAbs(std::log(refused.confidence), 1e-9));
  }
  SECTION("none is above certainty") { CHECK_FALSE(ask(1, careful).refused); }
  SECTION("a reader that brings no threshold refuses what is likelier than not") {
    const Answer answer = ask(-1, careful);
    CHECK(answer.refused == (answer.citations.front().evidence < 0));
  }
  SECTION("a reader that was taught no refusal is never cut short") {
    const Answer answer = ask(0, e.reader("careful", 1, 1));
    CHECK_FALSE(answer.refused);
    CHECK(answer.citations.front().evidence == 0);
  }
}

TEST_CASE("refusal: an answer below the configured confidence is withheld, streamed or not",
          "[service][refusal]") {
  ReadEngine e;
  e.configuration.reader.refuse_below = 1;
  start_with(e, e.reader("first", 1, 1));
  std::string streamed;
  const Answer answer = e.engine->ask(ask_for("piers of Oslo"), [&](std::string_view piece) {
    streamed += piece;
    return true;
  });
  CHECK(answer.refused);
  CHECK(answer.text == "I do not find this in what I have read");
  CHECK(streamed == answer.text);
  CHECK(answer.confidence < 1);
  CHECK_FALSE(answer.citations.empty());
  CHECK_FALSE(e.ask("none").refused);
}

TEST_CASE("refusal: an answer that is given is one given that nothing is refused",
          "[service][refusal]") {
  ReadEngine e;
  e.configuration.reader.refuse_above = 1;
  e.start();
  publish(*e.engine, kHarbours);
  service::Question question = ask_for("piers of Oslo");
  question.top_k = GENERATE(1, 2);
  const auto ask = [&](const std::string& name,
                       const std::map<std::string, std::string>& settings) {
    e.engine->readers().load(save_reader(e.models, e.directory.path(), name, 1, 1, settings));
    return e.engine->ask(question);
  };
  const Answer plain = ask("plain", {});
  // One token, which the answer does not begin with: what it leaves is shared out among the others.
  const Answer other = ask("other", {{"no_answer", "a"}});
  REQUIRE(other.text == plain.text);
  const double refusing = 1 / (1 + std::exp(other.citations.front().evidence));
  REQUIRE(refusing > 1e-2);  // else this shows nothing
  CHECK_THAT(other.log_probability,
             Catch::WithinAbs(plain.log_probability - std::log1p(-refusing), 1e-5));
  // Two tokens, of which the answer begins with the first: it loses the refusal's share.
  const Answer same = ask("same", {{"no_answer", "e"}});
  REQUIRE(same.text == plain.text);
  CHECK(same.log_probability < plain.log_probability - 1e-3);
}

TEST_CASE("refusal: the rest of it is read only where it could change whether it is given",
          "[service][refusal]") {
  ReadEngine e;
  const auto decoder = std::make_shared<RecordingDecoder>(e.models.decoder);
  e.models.decoder = decoder;
  const std::vector<backbone::TokenId> refusal = e.models.decoder_tokenizer->encode(" az");
  REQUIRE(refusal.size() > 1);
  const std::string careful =
      save_reader(e.models, e.directory.path(), "careful", 1, 1, {{"no_answer", "az"}});
  service::Question question = ask_for("piers of Oslo");
  question.top_k = 1;
  const auto reads_on = [&](double refuse_above) {
    e.configuration.reader.refuse_above = refuse_above;
    start_with(e, careful);
    decoder->take();
    const Answer answer = e.engine->ask(question);
    const auto reads = decoder->take();
    // The question, then the refusal or the answer's first token, which is another.
    REQUIRE(reads.size() > 1);
    CHECK(static_cast<int64_t>(reads[0].size()) == answer.prompt_tokens);
    return reads[1] == std::vector<backbone::TokenId>{refusal[0]};
  };
  CHECK(reads_on(0));
  CHECK_FALSE(reads_on(1));
}

}  // namespace alluvium::tests
