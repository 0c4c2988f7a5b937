// What an answer quotes is read ahead: in the text of the document that is answered from, as configured.
#include <algorithm>
#include <iterator>
#include <memory>
#include <vector>

#include "engine_fixture.h"
#include "recording_decoder.h"
#include "support/catch.h"

namespace alluvium::tests {

using service::Answer;

TEST_CASE("reading ahead: tokens of the document that is read, and the same answer",
          "[service][answer]") {
  TinyEngine e;
  const auto decoder = std::make_shared<RecordingDecoder>(e.models.decoder);
  e.models.decoder = decoder;
  // Any letter an answer says stands in it, before another one.
  const std::string text = "piers of Oslo abcdefghijklmnopqrstuvwxyz";
  service::Question question = ask_for("piers of Oslo");
  question.top_k = GENERATE(1, 2);
  question.max_tokens = 12;
  std::vector<std::vector<backbone::TokenId>> reads;
  const auto ask = [&](int64_t read_ahead) {
    e.configuration.answer.read_ahead = read_ahead;
    e.start();
    publish(*e.engine, {make_document("oslo", 1, "Oslo", text),
                        make_document("riga", 1, "Riga", "piers of Oslo " + text)});
    decoder->take();
    Answer answer = e.engine->ask(question);
    const auto all = decoder->take();
    // Each candidate's reading of the question comes first.
    reads.clear();
    std::copy_if(all.begin(), all.end(), std::back_inserter(reads), [&](const auto& tokens) {
      return static_cast<int64_t>(tokens.size()) != answer.prompt_tokens;
    });
    return answer;
  };
  const Answer alone = ask(0);
  REQUIRE(alone.answer_tokens > 2);
  CHECK(std::all_of(reads.begin(), reads.end(), [](const auto& read) { return read.size() == 1; }));

  const Answer quoting = ask(3);
  CHECK(quoting.text == alone.text);
  CHECK(quoting.answer_tokens == alone.answer_tokens);
  CHECK(quoting.citations.front().id == alone.citations.front().id);
  const auto document = e.models.decoder_tokenizer->encode(
      (quoting.citations.front().id == "riga" ? "Riga: piers of Oslo " : "Oslo: ") + text);
  int64_t ahead = 0;
  for (const auto& read : reads) {
    REQUIRE(read.size() <= 4);
    if (read.size() > 1) {
      ++ahead;
      CHECK(std::search(document.begin(), document.end(), read.begin(), read.end()) !=
            document.end());
    }
  }
  CHECK(ahead > 0);
}

}  // namespace alluvium::tests
