#include "alluvium/service/engine.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <thread>

#include "alluvium/core/error.h"
#include "engine_fixture.h"
#include "support/catch.h"

namespace alluvium::tests {
namespace {

using service::Answer;
using service::Engine;
using service::Event;

/// Collects events from the ingest thread.
class EventLog {
 public:
  explicit EventLog(Engine& engine) {
    engine.on_event([this](const Event& event) {
      const std::lock_guard lock(mutex_);
      events_.push_back(event);
    });
  }

  std::vector<Event> all() const {
    const std::lock_guard lock(mutex_);
    return events_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Event> events_;
};

/// About Oslo, which is best, and Riga.
Answer ask_of_two(Engine& engine, const std::string& codec, const std::string& compose) {
  service::Question question = ask_for("How many piers has the harbour?", codec);
  question.document_ids = {"oslo", "riga"};
  question.compose = compose;
  return engine.ask(question);
}

TEST_CASE("engine: a document is answered from, replaced, and gone after its delete",
          "[service][engine]") {
  TinyEngine tiny;
  EventLog events(*tiny.engine);
  publish(*tiny.engine, kHarbours);

  const Answer first = tiny.engine->ask(ask_for("Which ferries leave Bari?", "kv"));
  REQUIRE(first.citations.size() == 1);
  CHECK(first.citations[0].id == "bari");
  CHECK(first.citations[0].version == 1);
  CHECK(first.citations[0].weight == 1.0);
  CHECK(first.codec == "kv");
  CHECK(first.note.empty());

  publish(*tiny.engine, {make_document("bari", 2, "Bari", "Ferries from Bari stopped in May.")});
  const Answer second = tiny.engine->ask(ask_for("Which ferries leave Bari?", "kv"));
  CHECK(second.citations.at(0).version == 2);
  CHECK(second.log_probability != first.log_probability);
  CHECK(tiny.engine->status().store.documents == 3);

  erase(*tiny.engine, "bari", 2);
  const Answer third = tiny.engine->ask(ask_for("Which ferries leave Bari?", "kv"));
  CHECK_FALSE(third.citations.empty());
  for (const service::Citation& citation : third.citations) {
    CHECK(citation.id != "bari");
  }
  CHECK_FALSE(tiny.engine->store().find("default", "bari").has_value());

  const std::vector<Event> seen = events.all();
  REQUIRE(seen.size() == 5);
  CHECK(seen[3].kind == Event::Kind::adapted);
  CHECK(seen[3].version == 2);
  CHECK(seen[4].kind == Event::Kind::deleted);
  CHECK(seen[4].id == "bari");
}

TEST_CASE("engine: an empty bank answers as the bare model and says so", "[service][engine]") {
  TinyEngine tiny;
  const Answer empty = tiny.engine->ask(ask_for("Which ferries leave Bari?", "kv"));
  const Answer bare = tiny.engine->ask(ask_for("Which ferries leave Bari?", "none"));
  CHECK(empty.codec == "none");
  CHECK_THAT(empty.note, Catch::Matchers::Contains("bare model"));
  CHECK(bare.note.empty());
  CHECK(empty.text == bare.text);
  CHECK(empty.log_probability == bare.log_probability);
}

TEST_CASE("engine: publishing again changes nothing, and an old version never comes back",
          "[service][engine]") {
  TinyEngine tiny;
  publish(*tiny.engine, kHarbours);
  publish(*tiny.engine, kHarbours);
  publish(*tiny.engine, {make_document("oslo", 5, "Oslo", "Oslo closed its harbour.")});
  publish(*tiny.engine, {make_document("oslo", 4, "Oslo", "This is older.")});
  CHECK(tiny.engine->status().store.documents == 3);
  CHECK(tiny.engine->store().find("default", "oslo")->version == 5);
  erase(*tiny.engine, "oslo", 6);
  publish(*tiny.engine, {make_document("oslo", 6, "Oslo", "A replay must not bring it back.")});
  CHECK_FALSE(tiny.engine->store().find("default", "oslo").has_value());
  publish(*tiny.engine, {make_document("oslo", 7, "Oslo", "A new version may.")});
  CHECK(tiny.engine->store().find("default", "oslo")->version == 7);
}

TEST_CASE("engine: two versions in one batch leave the higher, whatever their order",
          "[service][engine]") {
  TinyEngine tiny;
  publish(*tiny.engine, {make_document("a", 2, "", "The newer text of a."),
                         make_document("a", 1, "", "The older text of a."),
                         make_document("b", 1, "", "The older text of b."),
                         make_document("b", 2, "", "The newer text of b.")});
  for (const char* id : {"a", "b"}) {
    const auto document = tiny.engine->store().read_document("default", id);
    REQUIRE(document.has_value());
    CHECK(document->version == 2);
    CHECK_THAT(document->text, Catch::Matchers::Contains("newer"));
  }
  CHECK(tiny.engine->backlog() == 0);
  CHECK(tiny.engine->retriever().keys() == tiny.engine->status().store.keys);
}

TEST_CASE("engine: a sequence logged twice in one publisher's stream is a duplicate",
          "[service][engine]") {
  TinyEngine tiny;
  std::vector<memory_bank::LogEntry> entries(1);
  entries[0].document = kHarbours[0];
  entries[0].session = "publisher";
  entries[0].sequence = 1;
  const int64_t first = tiny.engine->log(entries).at(0);
  CHECK(first > 0);
  CHECK(tiny.engine->log(entries).at(0) == 0);
  REQUIRE(tiny.engine->wait_applied(first, 60000));
  CHECK(tiny.engine->backlog() == 0);
}

TEST_CASE("engine: answers are the same after a restart", "[service][engine]") {
  TinyEngine tiny;
  publish(*tiny.engine, kHarbours);
  const Answer before = tiny.engine->ask(ask_for("How many cranes has Riga?", "kv"));
  tiny.start();
  const Answer after = tiny.engine->ask(ask_for("How many cranes has Riga?", "kv"));
  CHECK(after.codec == "kv");
  CHECK(after.text == before.text);
  CHECK(after.log_probability == before.log_probability);
  CHECK(after.citations.at(0).id == "riga");
  CHECK(tiny.engine->status().documents_adapted == 0);
}

TEST_CASE("engine: what was logged and not applied is ingested at the next start",
          "[service][engine]") {
  TinyEngine tiny;
  tiny.engine.reset();
  int64_t offset = 0;
  {
    const auto store = memory_bank::Store::open(tiny.configuration.directory);
    std::vector<memory_bank::LogEntry> entries(1);
    entries[0].document = kHarbours[2];
    offset = store->append_log(entries).at(0);
  }
  tiny.start();
  REQUIRE(tiny.engine->wait_applied(offset, 60000));
  CHECK(tiny.engine->ask(ask_for("Which ferries leave Bari?")).citations.at(0).id == "bari");
}

TEST_CASE("engine: a document that cannot be ingested is rejected and the others go through",
          "[service][engine]") {
  TinyEngine tiny;
  EventLog events(*tiny.engine);
  std::vector<Document> documents = kHarbours;
  documents.insert(documents.begin() + 1,
                   make_document("bad", 1, std::string(200, 't'), "The title fills the chunk."));
  publish(*tiny.engine, documents);
  CHECK(tiny.engine->status().store.documents == 3);
  const auto letters = tiny.engine->store().dead_letters(10);
  REQUIRE(letters.size() == 1);
  CHECK_FALSE(letters[0].reason.empty());
  const std::vector<Event> seen = events.all();
  const auto rejected = std::find_if(seen.begin(), seen.end(), [](const Event& event) {
    return event.kind == Event::Kind::rejected;
  });
  REQUIRE(rejected != seen.end());
  CHECK(rejected->id == "bad");
  CHECK_THAT(rejected->reason, Catch::Matchers::Contains("title"));
  CHECK_THAT(letters[0].reason, Catch::Matchers::Contains(rejected->reason));
}

TEST_CASE("engine: namespaces do not see each other, and as_of hides what holds later",
          "[service][engine]") {
  TinyEngine tiny;
  Document later = make_document("later", 1, "", "Ferries leave Bari at noon from next year.");
  later.valid_from_us = 2'000'000;
  publish(*tiny.engine,
          {later, make_document("other", 1, "", "Ferries leave Bari never.", "elsewhere")});

  service::Question question = ask_for("Which ferries leave Bari?");
  CHECK(tiny.engine->ask(question).citations.at(0).id == "later");
  question.as_of_us = 1'000'000;
  CHECK(tiny.engine->ask(question).citations.empty());
  question.name_space = "elsewhere";
  CHECK(tiny.engine->ask(question).citations.at(0).id == "other");
  question.name_space = "nowhere";
  CHECK(tiny.engine->ask(question).codec == "none");
}

TEST_CASE("engine: several documents share the citation's weight", "[service][engine]") {
  TinyEngine tiny;
  publish(*tiny.engine, kHarbours);
  service::Question question = ask_for("How many piers has the harbour?");
  question.top_k = 2;
  const Answer answer = tiny.engine->ask(question);
  REQUIRE(answer.citations.size() == 2);
  CHECK_THAT(answer.citations[0].weight + answer.citations[1].weight,
             Catch::Matchers::WithinAbs(1.0, 1e-9));
  CHECK(answer.citations[0].weight >= answer.citations[1].weight);
}

TEST_CASE("engine: of several documents the first citation is the one answered from",
          "[service][engine]") {
  TinyEngine tiny;
  publish(*tiny.engine, kHarbours);
  // Both are asked for by name: none is left out as unlikely.
  service::Question question = ask_for("How many piers has the harbour?", GENERATE("kv", "text"));
  question.document_ids = {"oslo", "riga"};
  question.top_k = 2;
  const Answer chosen = tiny.engine->ask(question);
  CHECK(chosen.choose_ms > 0);
  CHECK(chosen.citations.at(0).question_log_probability < 0);
  service::Question alone = question;
  alone.document_ids = {chosen.citations.at(0).id};
  const Answer from_it = tiny.engine->ask(alone);
  CHECK(chosen.text == from_it.text);
  CHECK(chosen.memory_slots == from_it.memory_slots);
  CHECK(from_it.choose_ms == 0);

  question.compose = "together";
  const Answer together = tiny.engine->ask(question);
  CHECK(together.citations.size() == 2);
  CHECK(together.choose_ms == 0);
  CHECK(together.memory_slots > chosen.memory_slots);
  question.compose = "mix";
  CHECK_THROWS_AS(tiny.engine->ask(question), InvalidArgument);
}

TEST_CASE("engine: documents in sequence with every row recomputed are the text of all",
          "[service][engine]") {
  TinyEngine tiny;
  tiny.configuration.answer.recompute = 1;
  tiny.start();
  publish(*tiny.engine, kHarbours);
  const auto ask = [&](const std::string& codec, const std::string& compose) {
    return ask_of_two(*tiny.engine, codec, compose);
  };
  const Answer text = ask("text", "sequence");
  const Answer blended = ask("kv", "blend");
  CHECK(blended.text == text.text);
  CHECK_THAT(blended.log_probability, Catch::Matchers::WithinAbs(text.log_probability, 1e-3));
  CHECK(blended.memory_slots == text.memory_slots);
  CHECK(blended.citations.size() == 2);
  CHECK_THAT(ask("text", "blend").log_probability,
             Catch::Matchers::WithinAbs(text.log_probability, 1e-6));
  // Apart, the second was read without the first.
  const Answer sequence = ask("kv", "sequence");
  CHECK(sequence.memory_slots == text.memory_slots);
  CHECK(std::abs(sequence.log_probability - text.log_probability) > 1e-4);

  tiny.configuration.answer.recompute = 0;
  tiny.start();
  CHECK(ask("kv", "blend").log_probability == sequence.log_probability);
}

TEST_CASE("engine: documents whose rows are reused are the text of all, and leave with either",
          "[service][engine]") {
  TinyEngine tiny;
  tiny.start();
  publish(*tiny.engine, kHarbours);
  const auto ask = [&](const std::string& codec, const std::string& compose) {
    return ask_of_two(*tiny.engine, codec, compose);
  };
  const Answer text = ask("text", "sequence");
  const Answer first = ask("kv", "reuse");
  CHECK(first.text == text.text);
  CHECK_THAT(first.log_probability, Catch::Matchers::WithinAbs(text.log_probability, 1e-3));
  CHECK(first.recomputed_tokens > 0);
  CHECK(first.memory_slots == text.memory_slots);
  CHECK(tiny.engine->status().cache.variants == 1);
  const Answer second = ask("kv", "reuse");
  CHECK(second.recomputed_tokens == 0);
  CHECK_THAT(second.log_probability, Catch::Matchers::WithinAbs(text.log_probability, 1e-3));
  CHECK(ask("kv", "blend").recomputed_tokens > 0);
  CHECK(ask("text", "reuse").recomputed_tokens == 0);

  // Riga stands before Oslo, whose rows hold traces of it.
  erase(*tiny.engine, "riga", 2);
  CHECK(tiny.engine->status().cache.variants == 0);
}

TEST_CASE("engine: a memory that lost rows is not blended, and is named", "[service][engine]") {
  TinyEngine tiny;
  tiny.configuration.codec.preset = "tiny";
  tiny.start();
  const std::string long_text(75, 'x');
  publish(*tiny.engine, {kHarbours[0], make_document("long", 1, "Long", long_text)});
  service::Question question = ask_for("How many piers has the harbour?");
  question.compose = GENERATE("blend", "reuse");
  question.document_ids = {"oslo", "long"};
  CHECK_THROWS_AS(tiny.engine->ask(question), NotSupported);
  CHECK_THROWS_WITH(tiny.engine->ask(question),
                    Catch::Contains("'long'") && Catch::Contains("compose = " + question.compose) &&
                        Catch::Contains("codec.preset lossless, safe"));
  question.document_ids = {"long"};
  CHECK_NOTHROW(tiny.engine->ask(question));
}

TEST_CASE("engine: a long document is read where it speaks of the question", "[service][engine]") {
  TinyEngine tiny;
  std::string text = "The lighthouse was painted white. ";
  for (int i = 0; i < 12; ++i) {
    text += "Nothing is said here about anything. ";
  }
  text += "A whale was seen off the coast.";
  publish(*tiny.engine, {make_document("long", 1, "", text)});
  const auto row = tiny.engine->store().find("default", "long")->row;
  const auto chunks = tiny.engine->store().chunks(row);
  REQUIRE(chunks.size() > 2);
  const int64_t prefix = tiny.engine->ask(ask_for("whale coast?", "none")).memory_slots;
  CHECK(tiny.engine->ask(ask_for("Who saw a whale off the coast?")).memory_slots ==
        prefix + static_cast<int64_t>(chunks.back().chunk.tokens.size()));
  CHECK(tiny.engine->ask(ask_for("Was the lighthouse painted?")).memory_slots ==
        prefix + static_cast<int64_t>(chunks.front().chunk.tokens.size()));
}

TEST_CASE("engine: streamed pieces make up the answer, and the listener can cancel",
          "[service][engine]") {
  TinyEngine tiny;
  publish(*tiny.engine, kHarbours);
  std::string streamed;
  const Answer whole = tiny.engine->ask(ask_for("How many piers?"), [&](std::string_view piece) {
    streamed += piece;
    return true;
  });
  CHECK(streamed == whole.text);
  CHECK(whole.finish != "cancelled");

  const Answer cancelled =
      tiny.engine->ask(ask_for("How many piers?"), [](std::string_view) { return false; });
  CHECK(cancelled.finish == "cancelled");
  CHECK(cancelled.answer_tokens < 8);
}

TEST_CASE("engine: a wrong question is refused before any computing", "[service][engine]") {
  TinyEngine tiny;
  CHECK_THROWS_AS(tiny.engine->ask(ask_for(" \n")), InvalidArgument);
  CHECK_THROWS_AS(tiny.engine->ask(ask_for("caf\xc3")), InvalidArgument);
  CHECK_THROWS_AS(tiny.engine->ask(ask_for("Why?", "zip")), InvalidArgument);
  CHECK_THROWS_AS(tiny.engine->ask(ask_for(std::string(20000, 'x'))), InvalidArgument);
  service::Question question = ask_for("Why?");
  question.top_k = -1;
  CHECK_THROWS_AS(tiny.engine->ask(question), InvalidArgument);
  question.top_k = 0;
  question.retrieval = "guess";
  CHECK_THROWS_AS(tiny.engine->ask(question), InvalidArgument);
  question.retrieval = "";
  question.max_tokens = 1000;
  CHECK_THROWS_AS(tiny.engine->ask(question), InvalidArgument);
}

TEST_CASE("engine: questions asked at once get the answers they would get alone",
          "[service][engine]") {
  TinyEngine tiny;
  publish(*tiny.engine, kHarbours);
  const std::vector<std::string> questions = {
      "How many cranes has Riga?", "Which ferries leave Bari?", "How many piers has Oslo?"};
  std::vector<Answer> alone;
  for (const std::string& question : questions) {
    alone.push_back(tiny.engine->ask(ask_for(question)));
  }
  std::vector<Answer> together(questions.size() * 4);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < together.size(); ++i) {
      threads.emplace_back(
          [&, i] { together[i] = tiny.engine->ask(ask_for(questions[i % questions.size()])); });
    }
  }
  for (std::size_t i = 0; i < together.size(); ++i) {
    CAPTURE(i);
    CHECK(together[i].text == alone[i % questions.size()].text);
    CHECK(together[i].citations.at(0).id == alone[i % questions.size()].citations.at(0).id);
  }
}

TEST_CASE("engine: memory_bytes leaves the cache what models and work do not need",
          "[service][engine]") {
  TinyEngine tiny;
  publish(*tiny.engine, kHarbours);
  const auto kept = [&](std::size_t memory_bytes) {
    tiny.configuration.memory_bytes = memory_bytes;
    tiny.start();
    CHECK(tiny.engine->ask(ask_for("Which ferries leave Bari?", "kv")).citations.at(0).id ==
          "bari");
    return tiny.engine->status().cache.entries;
  };
  CHECK(kept(0) > 0);
  CHECK(kept(std::size_t{1} << 40) > 0);
  tiny.configuration.cache_bytes = 0;
  CHECK(kept(std::size_t{1} << 40) ==
        0);  // a generous program does not make the cache larger than it may be

  tiny.configuration.memory_bytes = 1000;
  CHECK_THROWS_WITH(tiny.start(), Catch::Matchers::Contains("memory_bytes must be at least") &&
                                      Catch::Matchers::Contains("got 1000"));
}

TEST_CASE("engine: after stop it takes no work, and keeps what it logged", "[service][engine]") {
  TinyEngine tiny;
  publish(*tiny.engine, kHarbours);
  tiny.engine->stop();
  CHECK_THROWS_AS(tiny.engine->ask(ask_for("How many piers?")), Unavailable);
  std::vector<memory_bank::LogEntry> entries(1);
  entries[0].document = kHarbours[0];
  CHECK_THROWS_AS(tiny.engine->log(entries), Unavailable);
  tiny.start();
  CHECK(tiny.engine->status().store.documents == 3);
}

}  // namespace
}  // namespace alluvium::tests
