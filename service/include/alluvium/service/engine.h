// The service without its sockets: a document's way in, a question's way out.
//
// Purpose: what the endpoint, the benchmarks and the tests call. publish -> validate -> ingest log, fsync -> offset (the ack) -> batcher ->
//          codec.compress -> one transaction -> index -> adapted event; ask -> candidates -> memories -> prefix -> frozen decoder -> answer.
// Threads: thread-safe. One ingest thread owns the batcher; one re-make thread runs when memories do not fit the running model.
//          Callbacks run on the engine's threads and must not block.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "alluvium/backbone/decoder.h"
#include "alluvium/backbone/encoder.h"
#include "alluvium/backbone/generation.h"
#include "alluvium/backbone/tokenizer.h"
#include "alluvium/core/document.h"
#include "alluvium/memory_bank/codec.h"
#include "alluvium/memory_bank/memory_cache.h"
#include "alluvium/memory_bank/retriever.h"
#include "alluvium/memory_bank/store.h"
#include "alluvium/service/configuration.h"
#include "alluvium/service/memory_report.h"
#include "alluvium/service/readers.h"

namespace alluvium::service {

/// The frozen models, loaded once and shared by everything.
struct Models {
  std::shared_ptr<const backbone::Tokenizer> decoder_tokenizer;
  std::shared_ptr<const backbone::Decoder> decoder;
  std::shared_ptr<const backbone::Encoder> encoder;
  std::shared_ptr<const memory_bank::KvBasis> basis;  ///< of keys and values; null: none
};

/// The configured decoder's file or directory, or the default one's. Throws InvalidArgument naming the key and the path when it is missing.
std::string decoder_path(const ModelsConfiguration& configuration);

/// The basis of codec.basis, whatever decoder it was fitted to; null for "none", and for "auto" where none is installed. Throws
/// InvalidArgument naming the key when the file is missing, DataCorruption when it is damaged.
std::shared_ptr<const memory_bank::KvBasis> load_basis(const Configuration& configuration);

/// Loads decoder, its basis and encoder as the configuration says. An installed basis (codec.basis = "auto") of another decoder is left
/// out; one that was named is refused. Throws InvalidArgument naming the key and the path when a file is missing.
Models load_models(const Configuration& configuration);

/// The decoder with its tokenizer and basis alone, for what embeds nothing. Throws likewise.
Models load_decoder_alone(const Configuration& configuration);

struct Question {
  std::string text;
  std::string name_space = "default";
  std::string codec;      ///< empty = the configured one; none | text | kv
  int64_t top_k = 0;      ///< documents considered; 0 = the configured number
  int64_t as_of_us = 0;   ///< 0 = newest
  std::string retrieval;  ///< empty = the configured method
  std::string compose;    ///< empty = as configured; a word of compose.h
  /// Empty = the active one; "none", or a loaded reader by name or name@version
  std::string reader;
  /// Read exactly these instead of retrieving (benchmarks: the gold document)
  std::vector<std::string> document_ids;
  int64_t max_tokens = 0;   ///< 0 = the configured number
  double temperature = -1;  ///< below 0 = the configured value
  double top_p = -1;        ///< below 0 = the configured value
  uint64_t seed = 0;
};

struct Citation {
  std::string id;
  uint64_t version = 0;
  std::string title;
  /// Sums to 1: the probability that this is the right document when one was chosen, else its share
  /// of the retrieval score
  double weight = 0;
  double score = 0;  ///< retrieval score
  /// Natural log-probability of the question over this memory; 0 when there was nothing to choose
  double question_log_probability = 0;
  /// Natural log-odds that the reader does not refuse; 0 when it declares no refusal, or several documents were attended to at once
  double evidence = 0;
};

struct Answer {
  std::string text;
  /// Documents considered, best first; when one was chosen (answer.compose) the first was answered
  /// from, else all were attended to
  std::vector<Citation> citations;
  /// What answered: differs from the one asked for when memories had to be re-read as text
  std::string codec;
  /// Plain words when something was not as asked: empty bank, memory being re-made
  std::string note;
  /// name@version of the adapter that read the memories; "none" for the bare decoder
  std::string reader;
  /// The reader found no answer in what was read, or was too unsure of it; `text` says so
  bool refused = false;
  /// In [0, 1], that the answer is right: calibrated when the reader brings its calibration, else the
  /// geometric mean of the tokens' probabilities. Of a refusal: the probability of refusing, when the reader declares one
  double confidence = 0;
  double log_probability = 0;       ///< of the answer's tokens and its end
  double mean_log_probability = 0;  ///< likewise, of one of them
  std::string finish;               ///< stop | length | cancelled
  int64_t prompt_tokens = 0;        ///< question tokens read
  int64_t memory_slots = 0;         ///< slots attended to beside the question
  int64_t recomputed_tokens = 0;    ///< of the documents, read anew in every layer (blend, reuse)
  int64_t answer_tokens = 0;
  double retrieve_ms = 0;
  double load_ms = 0;         ///< memories to prefix (for text: reading)
  double choose_ms = 0;       ///< reading the question over every candidate; 0 without a choice
  double first_token_ms = 0;  ///< from the call to the first token
  double total_ms = 0;
};

/// Something became durable or went.
struct Event {
  enum class Kind { adapted, deleted, rejected, held };
  Kind kind = Kind::adapted;
  std::string name_space;
  std::string id;
  uint64_t version = 0;
  int64_t offset = 0;  ///< log offset of the document
  std::string reason;  ///< rejected, held: why
};

struct EngineStatus {
  memory_bank::StoreCounts store;
  memory_bank::CacheCounters cache;
  std::string decoder_fingerprint;  ///< hex
  std::string encoder_fingerprint;
  std::string codec;
  std::string reader;          ///< name@version of the active one, or "none"
  std::string reader_problem;  ///< why a stored reader was left out; empty when none was
  std::string device_reason;
  std::string gate;  ///< what judges new documents, or "none"
  int64_t questions = 0;
  int64_t documents_adapted = 0;  ///< since start
  int64_t tokens_read = 0;        ///< since start, ingest
  double ingest_ms = 0;           ///< time inside compress and commit since start
  bool remaking = false;          ///< memories that do not fit the model are being re-made
  MemoryReport memories;
  std::string ingest_error;  ///< why ingest pauses (disk full), empty when it runs
};

class Engine {
 public:
  /// Opens the store, reads the shared prefix, fills the indexes and starts ingesting what the log still holds.
  /// Throws as Store::open and load_models do.
  static std::unique_ptr<Engine> start(const Configuration& configuration, Models models);

  virtual ~Engine() = default;

  /// Receives every event after it is durable. Set before the first publish; null to stop.
  virtual void on_event(std::function<void(const Event&)> callback) = 0;

  /// Appends to the ingest log and returns when the disk has it: the offsets to ack, 0 for duplicates of a session's sequence.
  /// Documents must have passed validate_document(). Throws ResourceExhausted when the disk is full (nothing logged).
  virtual std::vector<int64_t> log(std::span<const memory_bank::LogEntry> entries) = 0;

  /// Waits until every offset up to `offset` is applied; false after `timeout_ms`.
  virtual bool wait_applied(int64_t offset, int64_t timeout_ms) = 0;

  /// Log entries accepted but not applied: what credit is granted against.
  virtual int64_t backlog() const = 0;

  /// Answers on the caller's thread. `on_text` streams pieces and may return false to cancel; while
  /// an answer may yet be withheld (reader.refuse_below) the pieces are empty and the text comes
  /// last.
  /// Throws InvalidArgument when the question is empty, is not UTF-8 or does not fit (before any computing).
  virtual Answer ask(const Question& question, const backbone::TextCallback& on_text = nullptr) = 0;

  virtual EngineStatus status() = 0;

  /// Makes every memory anew under another preset, in the background; until a memory is made its
  /// old one is attended to. New documents get the new preset at once. The choice holds over restarts
  /// until codec.preset is changed. Throws InvalidArgument on an unknown preset, NotSupported when
  /// the service stores no memories.
  virtual void recompress(const std::string& preset) = 0;

  virtual MemoryReport memories() = 0;

  /// Reads every record; one line for each thing found wrong. Damaged memories are made anew from
  /// the text in the background. Takes as long as reading all of them.
  virtual std::vector<std::string> verify_memories() = 0;

  /// Gives the bytes of memories that are gone back to the disk; returns how many.
  virtual int64_t compact_memories() = 0;

  /// The readers of this instance, to list, load, switch and roll back.
  virtual ReaderShelf& readers() = 0;
  virtual memory_bank::Store& store() = 0;
  virtual const memory_bank::Retriever& retriever() const = 0;
  virtual const memory_bank::Codec& codec(const std::string& name) = 0;
  virtual const Models& models() const = 0;

  /// Stops taking work and finishes the batch in hand; the store closes with the engine. What is logged but not applied is ingested at the
  /// next start.
  virtual void stop() = 0;
};

}  // namespace alluvium::service
