#include "needle_document.h"

#include <set>

#include "alluvium/backbone/checkpoint.h"
#include "alluvium/core/error.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::tests {
namespace {

TEST_CASE("needles: as many as asked for stand evenly in a document of about the length asked for",
          "[experiments][long]") {
  const TemporaryDirectory directory;
  const std::string path = write_tiny_llama_gguf(directory.path(), 1);
  const auto checkpoint = backbone::open_checkpoint(path);
  const auto tokenizer = backbone::load_tokenizer(*checkpoint, path);
  std::vector<Document> texts(40);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    for (int sentence = 0; sentence < 10; ++sentence) {
      texts[i].text += "Text " + std::to_string(i) + " says nothing. ";
    }
  }
  const auto made = experiments::make_needle_document(texts, *tokenizer, 4000, 12);
  REQUIRE(made.needles.size() == 12);
  std::set<std::string> answers;
  std::size_t last = 0;
  for (std::size_t i = 0; i < made.needles.size(); ++i) {
    const std::string& code = made.needles[i].answer;
    answers.insert(code);
    const std::size_t at = made.document.text.find(" is " + code + ".");
    REQUIRE(at != std::string::npos);
    CHECK(at > last);
    CHECK(at * 12 / made.document.text.size() == i);
    last = at;
  }
  CHECK(answers.size() == 12);
  const auto tokens =
      std::ssize(tokenizer->encode(made.document.text, backbone::SpecialTokens::plain_text));
  CHECK(tokens > 3900);
  CHECK(tokens < 5200);  // the needles come on top
  CHECK_THROWS_AS(experiments::make_needle_document(texts, *tokenizer, 1000000, 12),
                  InvalidArgument);
}

}  // namespace
}  // namespace alluvium::tests
