// What becomes of stored memories and keys when the models, the templates or the disk are no longer those they were made with.
#include "alluvium/core/sha256.h"
#include "alluvium/service/engine.h"
#include "engine_fixture.h"
#include "support/catch.h"

namespace alluvium::tests {
namespace {

using service::Answer;

TEST_CASE("engine: a memory of another prefix is read as text and then re-made",
          "[service][engine]") {
  TinyEngine tiny;
  publish(*tiny.engine, kHarbours);
  tiny.engine.reset();
  tiny.configuration.prompt.prefix = "<|endoftext|>Another beginning. ";

  SECTION("nobody re-makes it when memories are not what the bank makes") {
    tiny.configuration.answer.codec = "text";
    tiny.start();
    const Answer answer = tiny.engine->ask(ask_for("How many cranes has Riga?", "kv"));
    const Answer text = tiny.engine->ask(ask_for("How many cranes has Riga?", "text"));
    CHECK(answer.codec == "text");
    CHECK_THAT(answer.note, Catch::Matchers::Contains("riga"));
    CHECK(answer.text == text.text);
    CHECK(answer.log_probability == text.log_probability);
  }
  SECTION("the re-make thread brings it back as keys and values") {
    tiny.start();
    wait_remade(*tiny.engine);
    CHECK(tiny.engine->status().store.stale_memories == 0);
    const Answer answer = tiny.engine->ask(ask_for("How many cranes has Riga?", "kv"));
    const Answer text = tiny.engine->ask(ask_for("How many cranes has Riga?", "text"));
    CHECK(answer.codec == "kv");
    CHECK(answer.note.empty());
    CHECK_THAT(answer.log_probability, Catch::Matchers::WithinAbs(text.log_probability, 1e-3));
  }
}

TEST_CASE("engine: a memory that is absent or damaged is read as text, and the answer says so",
          "[service][engine]") {
  TinyEngine tiny;
  const std::vector<Document> documents = {kHarbours[1]};
  SECTION("the bank made none") {
    tiny.configuration.answer.codec = "text";
    tiny.start();
    publish(*tiny.engine, documents);
    CHECK(tiny.engine->status().store.memories == 0);
  }
  SECTION("its record fails its check") {
    publish(*tiny.engine, documents);
    tiny.engine.reset();
    damage_first_record(tiny.configuration);
    tiny.start();
  }
  const Answer answer = tiny.engine->ask(ask_for("How many cranes has Riga?", "kv"));
  const Answer text = tiny.engine->ask(ask_for("How many cranes has Riga?", "text"));
  CHECK(answer.codec == "text");
  CHECK_THAT(answer.note, Catch::Matchers::Contains("riga"));
  CHECK_THAT(answer.note, Catch::Matchers::Contains("its text was read"));
  CHECK(text.note.empty());
  CHECK(answer.citations.at(0).id == "riga");
  CHECK(answer.text == text.text);
  CHECK(answer.log_probability == text.log_probability);
}

TEST_CASE("engine: another preset makes all memories anew, and answers go on meanwhile",
          "[service][engine]") {
  TinyEngine tiny;
  std::string text;
  for (int i = 0; i < 12; ++i) {
    text += "Crane " + std::to_string(i) + " ";
  }
  publish(*tiny.engine, {make_document("riga", 1, "Riga", text)});
  const int64_t whole = tiny.engine->status().store.memory_bytes;
  for (const char* preset : {"default", "tiny", "lossless"}) {
    CAPTURE(preset);
    tiny.configuration.codec.preset = preset;
    tiny.start();
    CHECK_FALSE(tiny.engine->ask(ask_for("How many cranes?")).text.empty());
    wait_remade(*tiny.engine);
    const Answer answer = tiny.engine->ask(ask_for("How many cranes?"));
    CHECK(answer.codec == "kv");
    CHECK(answer.note.empty());
    const auto counts = tiny.engine->status().store;
    CHECK(counts.stale_memories == 0);
    if (std::string(preset) == "lossless") {
      CHECK(counts.memory_bytes == whole);
    } else {
      CHECK(counts.memory_bytes < whole);
      CHECK(answer.memory_slots < tiny.engine->codec("none").to_prefix({}, 1).slots() + 75);
    }
  }
}

TEST_CASE("engine: under another tokenizer stored ids are not used, new documents are",
          "[service][engine]") {
  /// The tiny tokenizer with every id moved by one: another vocabulary.
  class OtherTokenizer final : public backbone::Tokenizer {
   public:
    explicit OtherTokenizer(std::shared_ptr<const backbone::Tokenizer> inner)
        : inner_(std::move(inner)) {}
    std::vector<backbone::TokenId> encode(std::string_view text,
                                          backbone::SpecialTokens special) const override {
      std::vector<backbone::TokenId> ids = inner_->encode(text, special);
      for (backbone::TokenId& id : ids) {
        id = static_cast<backbone::TokenId>((id + 1) % inner_->vocabulary_size());
      }
      return ids;
    }
    std::string decode(std::span<const backbone::TokenId> ids) const override {
      return inner_->decode(ids);
    }
    std::optional<backbone::TokenId> find_token(std::string_view piece) const override {
      return inner_->find_token(piece);
    }
    int64_t vocabulary_size() const override { return inner_->vocabulary_size(); }
    const Digest& digest() const override { return digest_; }

   private:
    const std::shared_ptr<const backbone::Tokenizer> inner_;
    const Digest digest_ = sha256("another tokenizer");
  };
  TinyEngine tiny;
  publish(*tiny.engine, kHarbours);
  tiny.models.decoder_tokenizer =
      std::make_shared<const OtherTokenizer>(tiny.models.decoder_tokenizer);
  tiny.start();
  wait_remade(*tiny.engine);
  const Answer old = tiny.engine->ask(ask_for("How many cranes has Riga?"));
  CHECK(old.citations.at(0).id == "riga");
  CHECK(old.codec == "text");
  CHECK_FALSE(old.note.empty());

  // The same document as the new tokenizer cuts it gives the same answer, now from its memory.
  publish(*tiny.engine, {make_document("riga", 2, kHarbours[1].title, kHarbours[1].text)});
  const Answer renewed = tiny.engine->ask(ask_for("How many cranes has Riga?"));
  CHECK(renewed.codec == "kv");
  CHECK(renewed.text == old.text);
  CHECK_THAT(renewed.log_probability, Catch::Matchers::WithinAbs(old.log_probability, 1e-3));
}

TEST_CASE("engine: keys of another encoder are replaced in the background", "[service][engine]") {
  class OtherEncoder final : public backbone::Encoder {
   public:
    int64_t dimension() const override { return inner_->dimension(); }
    const Digest& fingerprint() const override { return fingerprint_; }
    at::Tensor embed(std::span<const std::string> texts) const override {
      return inner_->embed(texts);
    }

   private:
    const std::shared_ptr<const backbone::Encoder> inner_ = make_word_encoder();
    const Digest fingerprint_ = sha256("another encoder");
  };
  TinyEngine tiny;
  publish(*tiny.engine, kHarbours);
  const int64_t keys = tiny.engine->retriever().keys();
  CHECK(keys >= 3);
  tiny.models.encoder = std::make_shared<const OtherEncoder>();
  tiny.start();
  wait_remade(*tiny.engine);
  CHECK(tiny.engine->retriever().keys() == keys);
  service::Question question = ask_for("Which ferries leave Bari?");
  question.retrieval = "vector";
  CHECK(tiny.engine->ask(question).citations.at(0).id == "bari");
}

}  // namespace
}  // namespace alluvium::tests
