#include "alluvium/service/engine.h"

#include <atomic>
#include <span>
#include <utility>

#include <c10/core/InferenceMode.h>

#include "alluvium/core/error.h"
#include "alluvium/core/snapshot_slot.h"
#include "alluvium/service/prompt.h"
#include "answerer.h"
#include "engine_tokenizer_mark.h"
#include "ingest_worker.h"
#include "remake_worker.h"

namespace alluvium::service {
namespace {

using EventCallback = std::function<void(const Event&)>;

memory_bank::SharedPrefix read_prefix(const Configuration& configuration, const Models& models) {
  const c10::InferenceMode inference;
  return memory_bank::read_shared_prefix(
      *models.decoder, prefix_tokens(configuration.prompt, *models.decoder_tokenizer));
}

CodecMap make_codecs(const memory_bank::CodecContext& context) {
  memory_bank::CodecRegistry registry("codec");
  memory_bank::register_codecs(registry);
  CodecMap codecs;
  for (const std::string& name : registry.names()) {
    codecs[name] = registry.make(name, context);
  }
  return codecs;
}

/// Members stand in the order of their dependence: threads last, so that they end first.
class LocalEngine final : public Engine {
 public:
  LocalEngine(const Configuration& configuration, Models models)
      : configuration_(configuration),
        models_(std::move(models)),
        store_(memory_bank::Store::open(configuration_.directory)),
        prefix_(read_prefix(configuration_, models_)),
        codecs_(make_codecs({.decoder = models_.decoder.get(),
                             .tokenizer = models_.decoder_tokenizer.get(),
                             .prefix = &prefix_,
                             .options = configuration_.codec})),
        ingest_codec_(codec(configuration_.answer.codec)),
        cache_(configuration_.cache_bytes),
        readers_(configuration_.directory, configuration_.reader.initial, *models_.decoder),
        retriever_(*store_, *models_.encoder, configuration_.retrieval),
        other_tokenizer_(check_tokenizer_mark(configuration_.directory,
                                              models_.decoder_tokenizer->digest(),
                                              store_->counts(Digest{}).documents == 0)),
        remake_(*store_, retriever_, models_, ingest_codec_, configuration_, other_tokenizer_),
        answerer_({.configuration = configuration_,
                   .models = models_,
                   .codecs = codecs_,
                   .store = *store_,
                   .retriever = retriever_,
                   .cache = cache_,
                   .readers = readers_,
                   .other_tokenizer = other_tokenizer_,
                   .memory_missed = [this] { remake_.wake(); }}),
        ingest_(*store_, retriever_, cache_,
                DepositMaker(models_, ingest_codec_, configuration_.prompt, configuration_.ingest),
                configuration_.ingest,
                {.event = [this](const Event& event) { emit(event); },
                 .deferred = [this] { remake_.wake(); }}) {}

  void on_event(EventCallback callback) override {
    event_callback_.publish(std::make_shared<const EventCallback>(std::move(callback)));
  }

  std::vector<int64_t> log(std::span<const memory_bank::LogEntry> entries) override {
    require_running();
    std::vector<int64_t> offsets = store_->append_log(entries);
    int64_t logged = 0;
    for (const int64_t offset : offsets) {
      logged += offset != 0 ? 1 : 0;
    }
    ingest_.wake(logged);
    return offsets;
  }

  bool wait_applied(int64_t offset, int64_t timeout_ms) override {
    return ingest_.wait_applied(offset, timeout_ms);
  }

  int64_t backlog() const override { return ingest_.backlog(); }

  Answer ask(const Question& question, const backbone::TextCallback& on_text) override {
    require_running();
    ++questions_;
    return answerer_.answer(question, on_text);
  }

  EngineStatus status() override {
    const IngestCounters ingest = ingest_.counters();
    EngineStatus status;
    status.store = store_->counts(ingest_codec_.fingerprint());
    status.cache = cache_.counters();
    status.decoder_fingerprint = to_hex(models_.decoder->fingerprint());
    status.encoder_fingerprint = to_hex(models_.encoder->fingerprint());
    status.codec = ingest_codec_.name();
    const auto reader = readers_.find("");
    status.reader = reader ? reader->label() : "none";
    status.reader_problem = readers_.problem();
    status.device_reason = models_.decoder->policy().reason;
    status.questions = questions_.load();
    status.documents_adapted = ingest.documents;
    status.tokens_read = ingest.tokens;
    status.ingest_ms = ingest.ms;
    status.remaking = remake_.busy();
    status.ingest_error = ingest.error.empty() ? remake_.error() : ingest.error;
    return status;
  }

  ReaderShelf& readers() override { return readers_; }
  memory_bank::Store& store() override { return *store_; }
  const memory_bank::Retriever& retriever() const override { return retriever_; }
  const Models& models() const override { return models_; }

  const memory_bank::Codec& codec(const std::string& name) override {
    const auto found = codecs_.find(name);
    ALLUVIUM_CHECK(found != codecs_.end(), "unknown codec '{}'; known: none, text, kv", name);
    return *found->second;
  }

  void stop() override {
    stopping_ = true;
    ingest_.stop();
    remake_.stop();
  }

 private:
  void require_running() const {
    if (stopping_) {
      throw Unavailable("the service is stopping");
    }
  }

  void emit(const Event& event) const {
    const auto callback = event_callback_.read();
    if (callback && *callback) {
      (*callback)(event);
    }
  }

  const Configuration configuration_;
  const Models models_;
  const std::unique_ptr<memory_bank::Store> store_;
  const memory_bank::SharedPrefix prefix_;
  const CodecMap codecs_;
  const memory_bank::Codec& ingest_codec_;
  memory_bank::MemoryCache cache_;
  ReaderShelf readers_;
  memory_bank::Retriever retriever_;
  SnapshotSlot<EventCallback> event_callback_;
  std::atomic<int64_t> questions_{0};
  std::atomic<bool> stopping_{false};
  const bool other_tokenizer_;
  RemakeWorker remake_;
  Answerer answerer_;
  IngestWorker ingest_;
};

}  // namespace

std::unique_ptr<Engine> Engine::start(const Configuration& configuration, Models models) {
  return std::make_unique<LocalEngine>(configuration, std::move(models));
}

}  // namespace alluvium::service
