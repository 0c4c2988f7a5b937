#include "alluvium/experiments/qa_dataset.h"

#include <algorithm>
#include <fstream>
#include <set>

#include "alluvium/core/error.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::tests {
namespace {

using experiments::load_questions;
using experiments::QaQuestion;
using experiments::sample_questions;

std::string write(const TemporaryDirectory& directory, const std::string& text) {
  const std::string path = directory / "questions.jsonl";
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

TEST_CASE("load_questions: one or several documents, with or without answers",
          "[experiments][qa]") {
  const TemporaryDirectory directory;
  const auto questions = load_questions(write(
      directory,
      R"({"id": "a", "question": "Who?", "answers": ["Ada", "Vane"], "doc_id": "d1"})"
      "\n\n"
      R"({"id": "b", "question": "When?", "answers": [], "doc_ids": ["d1", "d2"], "level": "hard"})"));
  REQUIRE(questions.size() == 2);
  CHECK(questions[0].text == "Who?");
  CHECK(questions[0].answers == std::vector<std::string>{"Ada", "Vane"});
  CHECK(questions[0].document_ids == std::vector<std::string>{"d1"});
  CHECK(questions[1].answers.empty());
  CHECK(questions[1].document_ids == std::vector<std::string>{"d1", "d2"});
}

TEST_CASE("load_questions: an error names the file and the line", "[experiments][qa]") {
  const TemporaryDirectory directory;
  const std::string path = write(directory, R"({"id": "a", "question": "Who?", "answers": []})"
                                            "\nnot json\n");
  CHECK_THROWS_WITH(load_questions(path), Catch::Matchers::Contains("questions.jsonl:2"));
  CHECK_THROWS_AS(load_questions(directory / "absent.jsonl"), InvalidArgument);
}

TEST_CASE("sample_questions: the order is that of the SHA-256 of seed and id",
          "[experiments][qa]") {
  std::vector<QaQuestion> questions(3);
  questions[0].id = "a";
  questions[1].id = "b";
  questions[2].id = "c";
  const auto ids = [&](uint64_t seed, int64_t limit) {
    std::string joined;
    for (const QaQuestion& question : sample_questions(questions, seed, limit)) {
      joined += question.id;
    }
    return joined;
  };
  // printf 0:a | sha256sum begins with 9df3c5, 0:b with e02192, 0:c with be086d.
  CHECK(ids(0, 0) == "acb");
  CHECK(ids(1, 0) == "abc");
  CHECK(ids(0, 2) == "ac");
  CHECK(ids(0, 9) == "acb");
}

TEST_CASE("sample_questions: the evaluation set gives the same draw each time",
          "[experiments][qa]") {
  const auto data = data_directory();
  if (!data) {
    WARN("skipped: the evaluation data is not there");
    return;
  }
  const auto questions = load_questions(*data + "/squad/dev_a.questions.jsonl.gz");
  CHECK(questions.size() == 5869);
  const auto sample = sample_questions(questions, 0, 300);
  REQUIRE(sample.size() == 300);
  CHECK(sample.front().id == "56f811bdaef2371900625d9f");
  std::set<std::string> ids;
  for (const QaQuestion& question : sample) {
    ids.insert(question.id);
    CHECK(question.document_ids.size() == 1);
  }
  CHECK(ids.size() == 300);
}

}  // namespace
}  // namespace alluvium::tests
