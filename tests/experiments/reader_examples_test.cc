#include "reader_examples.h"

#include <algorithm>
#include <set>

#include "alluvium/core/error.h"
#include "alluvium/service/prompt.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::experiments {
namespace {

std::unique_ptr<backbone::Tokenizer> tiny_tokenizer() {
  const tests::TemporaryDirectory directory;
  const std::string path = tests::write_tiny_llama_gguf(directory.path(), 1);
  return backbone::load_tokenizer(*backbone::open_checkpoint(path), path);
}

/// Twelve documents of three titles; document i tells its own number twice.
std::vector<Document> numbered_documents() {
  std::vector<Document> documents;
  for (int i = 0; i < 12; ++i) {
    Document document;
    document.id = fmt::format("d{}", i);
    document.title = fmt::format("title {}", i / 4);
    // Every even document of a title also tells the number of the one before it.
    document.text = fmt::format("Here stands number{}x and number{}x.", i,
                                i % 2 == 0 && i % 4 != 0 ? i - 1 : i);
    documents.push_back(document);
  }
  return documents;
}

std::vector<QaQuestion> numbered_questions() {
  std::vector<QaQuestion> questions;
  for (int i = 0; i < 12; ++i) {
    for (int k = 0; k < 2; ++k) {
      questions.push_back({.id = fmt::format("q{}-{}", i, k),
                           .text = fmt::format("Which number, {}?", k),
                           .answers = {fmt::format("number{}x", i)},
                           .document_ids = {fmt::format("d{}", i)}});
    }
  }
  return questions;
}

service::TemplateConfiguration templates() {
  service::TemplateConfiguration prompt;
  prompt.max_chunk_tokens = 200;
  return prompt;
}

ReaderExamples examples_of(const ReaderExampleOptions& options) {
  return ReaderExamples(numbered_documents(), numbered_questions(), templates(), *tiny_tokenizer(),
                        options);
}

}  // namespace

TEST_CASE("reader examples: question and answer are the templates' tokens",
          "[experiments][reader_examples]") {
  const auto tokenizer = tiny_tokenizer();
  const ReaderExamples examples(numbered_documents(), numbered_questions(), templates(), *tokenizer,
                                {});
  REQUIRE(examples.questions().size() == 24);
  REQUIRE(examples.documents().size() == 12);
  const ReaderQuestion& first = examples.questions().front();
  CHECK(tokenizer->decode(first.question) == "Question: Which number, 0?\nAnswer:");
  CHECK(tokenizer->decode(first.answer) == " number0x\n");
  CHECK(examples.documents()[first.document].id == "d0");
}

// Forty documents of one title, the first twelve about another thing than the rest, and a question about each.
ReaderExamples two_things(const ReaderExampleOptions& options) {
  std::vector<Document> documents;
  std::vector<QaQuestion> questions;
  const auto thing = [](int i) { return i < 12 ? "quartz vein" : "old bridge"; };
  for (int i = 0; i < 40; ++i) {
    Document document;
    document.id = fmt::format("d{}", i);
    document.title = "one title";
    document.text = fmt::format("The {} was answer{}x.", thing(i), i);
    documents.push_back(document);
    questions.push_back({.id = fmt::format("q{}", i),
                         .text = fmt::format("What was the {}?", thing(i)),
                         .answers = {fmt::format("answer{}x", i)},
                         .document_ids = {document.id}});
  }
  return ReaderExamples(documents, questions, templates(), *tiny_tokenizer(), options);
}

TEST_CASE("reader examples: BM25's distractors are those that share the question's words",
          "[experiments][reader_examples]") {
  ReaderExampleOptions options;
  options.documents_per_question = 3;
  options.several_share = 1;
  options.distractors = Distractors::bm25;
  const ReaderExamples examples = two_things(options);
  std::set<std::size_t> distractors;
  for (const auto& batch : examples.schedule(10)) {
    for (const Reading& reading : batch) {
      const std::size_t gold = examples.questions()[reading.questions.front()].document;
      for (const std::size_t document : reading.documents) {
        CHECK((document < 12) == (gold < 12));
        if (document != gold && gold < 12) {
          distractors.insert(document);
        }
      }
    }
  }
  CHECK(distractors.size() > 6);  // not always the same ones
}

TEST_CASE(
    "reader examples: hard negatives are questions about the same thing that the document does "
    "not answer",
    "[experiments][reader_examples]") {
  ReaderExampleOptions options;
  options.hard_negatives = 1;
  const ReaderExamples examples = two_things(options);
  int answerable = 0;
  int negatives = 0;
  for (const auto& batch : examples.schedule(20)) {
    for (const Reading& reading : batch) {
      REQUIRE(reading.documents.size() == 1);
      answerable += static_cast<int>(reading.questions.size());
      for (const std::size_t q : reading.unanswerable) {
        const std::size_t gold = examples.questions()[q].document;
        CHECK(gold != reading.documents.front());
        CHECK((gold < 12) == (reading.documents.front() < 12));
        ++negatives;
      }
    }
  }
  // Some documents are nobody's nearest.
  CHECK(negatives > answerable / 8);
  CHECK(negatives <= answerable);
}

TEST_CASE("reader examples: withheld, every question meets the document BM25 would bring instead",
          "[experiments][reader_examples]") {
  const ReaderExamples examples = two_things({});
  std::set<std::size_t> asked;
  for (const auto& batch : examples.once_withheld()) {
    for (const Reading& reading : batch) {
      REQUIRE(reading.documents.size() == 1);
      CHECK(reading.questions.empty());
      for (const std::size_t q : reading.unanswerable) {
        const std::size_t gold = examples.questions()[q].document;
        CHECK(gold != reading.documents.front());
        CHECK((gold < 12) == (reading.documents.front() < 12));
        CHECK(asked.insert(q).second);
      }
    }
  }
  CHECK(asked.size() == 40);
}

TEST_CASE("reader examples: documents of a title that is asked about count as distractors",
          "[experiments][reader_examples]") {
  std::vector<QaQuestion> questions = numbered_questions();
  questions.resize(1);  // of title 0 alone
  const ReaderExamples examples(numbered_documents(), questions, templates(), *tiny_tokenizer(),
                                {});
  CHECK(examples.documents().size() == 4);
  CHECK(examples.questions().size() == 1);
  REQUIRE(examples.once().size() == 1);
  CHECK(examples.once().front().size() == 1);
}

TEST_CASE("reader examples: an epoch asks every question once, each over its own document",
          "[experiments][reader_examples]") {
  ReaderExampleOptions options;
  options.rows_per_batch = 120;
  const ReaderExamples examples = examples_of(options);
  std::multiset<std::size_t> asked;
  for (const auto& batch : examples.schedule(1000)) {
    for (const Reading& reading : batch) {
      CHECK(reading.unanswerable.empty());
      CHECK(reading.documents.size() == 1);
      for (const std::size_t q : reading.questions) {
        CHECK(examples.questions()[q].document == reading.documents.front());
        if (asked.size() < 24) {
          asked.insert(q);
        }
      }
    }
  }
  CHECK(asked.size() == 24);
  CHECK(std::set<std::size_t>(asked.begin(), asked.end()).size() == 24);
}

TEST_CASE("reader examples: the schedule depends on the seed alone, and a longer one begins alike",
          "[experiments][reader_examples]") {
  ReaderExampleOptions options;
  options.rows_per_batch = 120;
  options.documents_per_question = 3;
  options.unanswerable_share = 0.3;
  options.seed = 5;
  const auto order = [](const std::vector<std::vector<Reading>>& schedule, std::size_t batches) {
    std::vector<std::size_t> flat;
    for (std::size_t i = 0; i < batches; ++i) {
      for (const Reading& reading : schedule[i]) {
        flat.insert(flat.end(), reading.documents.begin(), reading.documents.end());
        flat.push_back(1000 + reading.unanswerable.size());
      }
    }
    return flat;
  };
  const auto once = examples_of(options).schedule(6);
  const auto again = examples_of(options).schedule(9);
  REQUIRE(once.size() == 6);
  CHECK(order(once, 6) == order(again, 6));
  options.seed = 6;
  CHECK(order(examples_of(options).schedule(6), 6) != order(once, 6));
}

TEST_CASE("reader examples: distractors and withheld documents hold no answer of the questions",
          "[experiments][reader_examples][property]") {
  ReaderExampleOptions options;
  options.documents_per_question = 3;
  options.several_share = 0.5;
  options.unanswerable_share = 0.3;
  options.seed = GENERATE(range(0U, 5U));
  const ReaderExamples examples = examples_of(options);
  int withheld = 0;
  int several = 0;
  int readings = 0;
  int distractors = 0;
  int akin = 0;
  for (const auto& batch : examples.schedule(100)) {
    for (const Reading& reading : batch) {
      const bool answerable = reading.unanswerable.empty();
      CHECK(answerable != reading.questions.empty());
      const ReaderQuestion& asked =
          examples.questions()[(answerable ? reading.questions : reading.unanswerable).front()];
      const std::size_t gold = asked.document;
      const bool has_gold =
          std::count(reading.documents.begin(), reading.documents.end(), gold) == 1;
      CHECK(has_gold == answerable);
      CHECK(reading.documents.size() <= 3);
      CHECK(std::set<std::size_t>(reading.documents.begin(), reading.documents.end()).size() ==
            reading.documents.size());
      for (const std::size_t document : reading.documents) {
        const bool tells =
            examples.documents()[document].text.find(asked.answers.front()) != std::string::npos;
        CHECK(tells == (document == gold));
        distractors += document == gold ? 0 : 1;
        akin += document != gold &&
                        examples.documents()[document].title == examples.documents()[gold].title
                    ? 1
                    : 0;
      }
      ++readings;
      withheld += answerable ? 0 : 1;
      several += reading.documents.size() > 1 ? 1 : 0;
    }
  }
  CHECK_THAT(static_cast<double>(withheld) / readings, Catch::WithinAbs(0.3, 0.08));
  // Of the same title, but where it has too few.
  CHECK(akin > 0.7 * distractors);
  CHECK_THAT(static_cast<double>(several) / readings, Catch::WithinAbs(0.5, 0.08));
}

TEST_CASE("reader examples: questions without answer, document or answer in it are left out",
          "[experiments][reader_examples]") {
  std::vector<QaQuestion> questions = numbered_questions();
  questions.resize(1);
  questions.push_back({.id = "a", .text = "?", .answers = {}, .document_ids = {"d1"}});
  questions.push_back({.id = "b", .text = "?", .answers = {"number1x"}, .document_ids = {"d99"}});
  questions.push_back({.id = "c", .text = "?", .answers = {"number2x"}, .document_ids = {"d1"}});
  const auto tokenizer = tiny_tokenizer();
  const ReaderExamples examples(numbered_documents(), questions, templates(), *tokenizer, {});
  CHECK(examples.questions().size() == 1);
  questions.erase(questions.begin());
  CHECK_THROWS_AS(ReaderExamples(numbered_documents(), questions, templates(), *tokenizer, {}),
                  InvalidArgument);
}

TEST_CASE("reader examples: options outside their bounds are refused",
          "[experiments][reader_examples]") {
  ReaderExampleOptions options;
  SECTION("rows") { options.rows_per_batch = 1; }
  SECTION("documents") { options.documents_per_question = 9; }
  SECTION("unanswerable") { options.unanswerable_share = 1; }
  SECTION("hard negatives") { options.hard_negatives = 1.5; }
  SECTION("several") { options.several_share = 1.5; }
  CHECK_THROWS_AS(examples_of(options), InvalidArgument);
}

}  // namespace alluvium::experiments
