#include <string>
#include <string_view>
#include <vector>

#include "alluvium/core/error.h"
#include "alluvium/service/prompt.h"
#include "answer_chunks.h"
#include "answer_stream.h"
#include "support/catch.h"

namespace alluvium::tests {
namespace {

using service::AnswerStream;
using service::best_part;
using service::fill_template;
using service::trim;

TEST_CASE("best_part: the part with the rarer shared words wins", "[service][answer]") {
  const std::vector<std::string_view> parts = {"the river is long", "the river floods in May",
                                               "the mill stands by the river"};
  CHECK(best_part("When does the river flood? In MAY?", parts) == 1);
  CHECK(best_part("Where does the mill stand?", parts) == 2);
}

TEST_CASE("best_part: without overlap, and between equals, the first part is read",
          "[service][answer]") {
  const std::vector<std::string_view> parts = {"one two", "one two", "three"};
  CHECK(best_part("nothing", parts) == 0);
  CHECK(best_part("two", parts) == 0);
  CHECK(best_part("", parts) == 0);
  CHECK_THROWS_AS(best_part("two", {}), InvalidArgument);
}

TEST_CASE("fill_template: values are not searched for placeholders", "[service][answer]") {
  CHECK(fill_template("Q: {question}\nA:", "{question}", "What is {question}?") ==
        "Q: What is {question}?\nA:");
  CHECK(fill_template("{x}{x}", "{x}", "ab") == "abab");
  CHECK(fill_template("no place", "{x}", "ab") == "no place");
  CHECK(fill_template("{x}", "{x}", "").empty());
}

TEST_CASE("answer stream: pieces together are the trimmed whole", "[service][answer]") {
  const std::vector<std::vector<std::string>> streams = {
      {" Denver", " Broncos"}, {" ", "\n", "a", " ", "b", " \n"}, {"", " "}, {}, {"x ", " y"}};
  for (const std::vector<std::string>& pieces : streams) {
    std::string whole;
    std::string heard;
    const backbone::TextCallback listener = [&](std::string_view piece) {
      CHECK_FALSE(piece.empty());
      heard += piece;
      return true;
    };
    AnswerStream stream(listener);
    for (const std::string& piece : pieces) {
      whole += piece;
      CHECK(stream.push(piece));
    }
    CHECK(heard == trim(whole));
  }
}

TEST_CASE("answer stream: the listener's no ends it, and nobody need listen", "[service][answer]") {
  const backbone::TextCallback refuse = [](std::string_view) { return false; };
  AnswerStream stream(refuse);
  CHECK_FALSE(stream.push("word"));
  const backbone::TextCallback nobody;
  AnswerStream silent(nobody);
  CHECK(silent.push("word"));
}

}  // namespace
}  // namespace alluvium::tests
