#include "alluvium/service/engine.h"

#include <atomic>
#include <mutex>
#include <span>
#include <utility>

#include <c10/core/InferenceMode.h>

#include "alluvium/core/error.h"
#include "alluvium/core/process_memory.h"
#include "alluvium/core/snapshot_slot.h"
#include "alluvium/memory_bank/kv_family.h"
#include "alluvium/service/prompt.h"
#include "answerer.h"
#include "cache_capacity.h"
#include "engine_tokenizer_mark.h"
#include "ingest_gate.h"
#include "ingest_worker.h"
#include "remake_worker.h"

namespace alluvium::service {
namespace {

using EventCallback = std::function<void(const Event&)>;
using GateHook = std::function<std::optional<memory_bank::GateVerdict>(const Document&)>;

memory_bank::SharedPrefix read_prefix(const Configuration& configuration, const Models& models) {
  const c10::InferenceMode inference;
  return memory_bank::read_shared_prefix(
      *models.decoder, prefix_tokens(configuration.prompt, *models.decoder_tokenizer));
}

// Names of the store's settings: the preset chosen while the service ran, and the fingerprint of the
// configured settings it was chosen over. When those change, they hold again.
constexpr const char* kChosenPreset = "kv.preset";
constexpr const char* kChosenOver = "kv.configured";
constexpr int64_t kGaps = 1000;

std::string configured_settings(const memory_bank::KvFamily& family) {
  return to_hex(family.members().front());
}

std::unique_ptr<memory_bank::KvFamily> make_family(const memory_bank::CodecContext& context,
                                                   memory_bank::Store& store) {
  auto family = std::make_unique<memory_bank::KvFamily>(context);
  store.set_family(family->fingerprint(), family->members());
  const std::string chosen = store.setting(kChosenPreset);
  if (!chosen.empty() && store.setting(kChosenOver) == configured_settings(*family)) {
    family->switch_to(chosen);
  }
  family->recall_gaps(store.quality_gaps(family->aim(), kGaps));
  return family;
}

CodecMap make_codecs(const memory_bank::CodecContext& context, memory_bank::Store& store) {
  memory_bank::CodecRegistry registry("codec");
  memory_bank::register_codecs(registry);
  CodecMap codecs;
  for (const std::string& name : registry.names()) {
    if (name != "kv") {
      codecs[name] = registry.make(name, context);
    }
  }
  codecs["kv"] = make_family(context, store);
  return codecs;
}

/// Members stand in the order of their dependence: threads last, so that they end first.
class LocalEngine final : public Engine {
 public:
  LocalEngine(const Configuration& configuration, Models models)
      : configuration_(configuration),
        models_(std::move(models)),
        store_(memory_bank::Store::open(configuration_.directory, {.basis = models_.basis})),
        prefix_(read_prefix(configuration_, models_)),
        codecs_(make_codecs({.decoder = models_.decoder.get(),
                             .tokenizer = models_.decoder_tokenizer.get(),
                             .prefix = &prefix_,
                             .options = configuration_.codec,
                             .basis = models_.basis.get()},
                            *store_)),
        kv_(dynamic_cast<memory_bank::KvFamily&>(*codecs_.at("kv"))),
        ingest_codec_(codec(configuration_.answer.codec)),
        readers_(configuration_.directory, configuration_.reader.initial, *models_.decoder),
        retriever_(*store_, *models_.encoder, configuration_.retrieval),
        cache_(cache_capacity(configuration_.cache_bytes, configuration_.memory_bytes,
                              static_cast<std::size_t>(resident_bytes()))),
        other_tokenizer_(check_tokenizer_mark(configuration_.directory,
                                              models_.decoder_tokenizer->digest(),
                                              store_->counts(Digest{}).documents == 0)),
        remake_(*store_, retriever_, cache_, models_, ingest_codec_, configuration_,
                other_tokenizer_),
        gate_(IngestGate::open(configuration_, models_)),
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
                 .gate = gate_ ? [this](const Document& document) { return gate_->judge(document); }
                               : GateHook(),
                 .deferred = [this] { remake_.wake(); },
                 .settled = [this](bool drained) { keep_within_bound(drained); }}) {}

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
    status.gate = gate_ ? gate_->label() : "none";
    status.questions = questions_.load();
    status.documents_adapted = ingest.documents;
    status.tokens_read = ingest.tokens;
    status.ingest_ms = ingest.ms;
    status.remaking = remake_.busy();
    status.memories = memories();
    status.ingest_error = ingest.error.empty() ? remake_.error() : ingest.error;
    return status;
  }

  void recompress(const std::string& preset) override {
    require_running();
    if (&ingest_codec_ != &kv_) {
      throw NotSupported("the service stores no memories: answer.codec is not kv");
    }
    const std::lock_guard lock(recompress_mutex_);
    kv_.switch_to(preset);
    store_->set_setting(kChosenOver, configured_settings(kv_));
    store_->set_setting(kChosenPreset, preset);
    remake_.wake();
  }

  MemoryReport memories() override {
    return {.statistics = store_->memory_statistics(ingest_codec_.aim()),
            .preset = kv_.preset(),
            .remaking = remake_.busy()};
  }

  std::vector<std::string> verify_memories() override {
    std::vector<std::string> findings = store_->verify(memory_bank::Damaged::discard);
    if (!findings.empty()) {
      remake_.wake();
    }
    return findings;
  }

  int64_t compact_memories() override { return store_->compact(1.0); }

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
    if (gate_) {
      gate_->save();
    }
  }

 private:
  // What reading leaves in the allocator's hands counts as the program's. Given back when the bound is passed, and when there is time.
  void keep_within_bound(bool drained) const {
    const std::size_t bound = configuration_.memory_bytes;
    if (bound > 0 && (drained || static_cast<std::size_t>(resident_bytes()) > bound)) {
      release_free_memory();
    }
  }

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
  memory_bank::KvFamily& kv_;
  const memory_bank::Codec& ingest_codec_;
  ReaderShelf readers_;
  memory_bank::Retriever retriever_;
  memory_bank::MemoryCache cache_;
  SnapshotSlot<EventCallback> event_callback_;
  std::atomic<int64_t> questions_{0};
  std::atomic<bool> stopping_{false};
  std::mutex recompress_mutex_;  // taken before the store's
  const bool other_tokenizer_;
  RemakeWorker remake_;
  const std::unique_ptr<IngestGate> gate_;
  Answerer answerer_;
  IngestWorker ingest_;
};

}  // namespace

std::unique_ptr<Engine> Engine::start(const Configuration& configuration, Models models) {
  return std::make_unique<LocalEngine>(configuration, std::move(models));
}

}  // namespace alluvium::service
