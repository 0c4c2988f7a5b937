// The durable memory bank: documents, memories, retrieval keys, full text and the ingest log of one
// service instance.
//
// Purpose: everything a document is (text, memory, vectors, full-text row) changes in one
//          transaction, and nothing is visible before its bytes are on the disk. A row is the only
//          thing that makes a memory visible.
// Layout : <directory>/alluvium.db (SQLite, WAL, synchronous=FULL), <directory>/memories/NNNNNN.seg
//          (append-only record segments), <directory>/LOCK (single writer). docs/FORMATS.md has the
//          tables.
// Threads: thread-safe. Writes are serialised inside; reads run beside them on their own
//          connections.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "alluvium/core/clock.h"
#include "alluvium/core/document.h"
#include "alluvium/core/sha256.h"
#include "alluvium/memory_bank/memory.h"
#include "alluvium/memory_bank/sample_log.h"

namespace alluvium::memory_bank {

/// What the ingest log holds at one offset.
struct LogEntry {
  enum class Kind { put, erase };
  Kind kind = Kind::put;
  int64_t offset = 0;  ///< given by the log, increasing, never used again
  Document document;  ///< for erase: name_space, id and version only; version 0 = whatever is there
  std::string session;    ///< the publisher's session id; may be empty
  uint64_t sequence = 0;  ///< within the session; 0 when there is no session
  bool gated = true;      ///< the gate of the stream may keep it out
};

/// A document made ready to be answered from, to be committed at its log offset.
struct Deposit {
  int64_t offset = 0;
  Document document;
  std::vector<Chunk> chunks;
  std::vector<Memory> memories;  ///< one a chunk with tensors, or empty when the codec stores none
  std::vector<float> keys;       ///< [key_count, dimension], unit rows
  int64_t key_dimension = 0;
  Digest encoder_fingerprint{};
};

enum class CommitOutcome {
  stored,  ///< visible now
  stale,   ///< a version as high or higher is already there, or its tombstone is: ignored
};

/// A document as listed.
struct DocumentSummary {
  int64_t row = 0;
  std::string name_space;
  std::string id;
  uint64_t version = 0;
  std::string title;
  int64_t valid_from_us = 0;
  int64_t created_us = 0;
  int64_t text_bytes = 0;
  int64_t tokens = 0;
  int64_t chunks = 0;
  /// Stored record bytes of all chunks; a record that other documents of equal text name counts in
  /// each
  int64_t memory_bytes = 0;
};

/// Where a chunk of a document stands.
struct ChunkRow {
  int64_t row = 0;  ///< id of the chunk
  int64_t document_row = 0;
  int64_t part = 0;
  Chunk chunk;
};

/// Retrieval keys of one document, for filling an index.
struct DocumentKeys {
  int64_t document_row = 0;
  std::string name_space;
  int64_t valid_from_us = 0;
  std::vector<float> keys;  ///< [key_count, dimension]
};

/// A line of input that could not become a document.
struct DeadLetter {
  std::string source;  ///< file or session
  int64_t line = 0;    ///< 1-based line, or log offset; 0 when unknown
  std::string reason;
  std::string content;  ///< first 4,096 bytes
  int64_t created_us = 0;
};

/// How the gate of the stream judged a document.
struct GateVerdict {
  std::string selector;        ///< label of the selector
  int64_t target_version = 0;  ///< of its targets
  double score = 0;            ///< 0 where the selector gave none
  std::string reason;
};

/// A document that the gate kept out: whole, and not answered from.
struct HeldDocument {
  Document document;
  GateVerdict verdict;
  int64_t created_us = 0;
};

struct StoreCounts {
  int64_t documents = 0;
  int64_t chunks = 0;
  int64_t memories = 0;        ///< whose fingerprint is the one asked for
  int64_t stale_memories = 0;  ///< chunks without such a memory
  int64_t keys = 0;
  int64_t tombstones = 0;
  int64_t dead_letters = 0;
  int64_t held_documents = 0;
  int64_t logged_offset = 0;   ///< highest offset given
  int64_t applied_offset = 0;  ///< every offset up to it is committed or ignored
  int64_t pending = 0;         ///< log entries not yet applied
  int64_t memory_bytes = 0;    ///< of live records
  int64_t database_bytes = 0;
};

/// Memories of one way of keeping.
struct MemoryKind {
  std::string preset;  ///< as MemoryOrigin; empty for memories of earlier versions
  int64_t memories = 0;
  int64_t richer = 0;  ///< of these, stored richer than asked for, by the quality gate
  int64_t tokens = 0;
  int64_t bytes = 0;  ///< of their records
};

/// All memories of a store.
struct MemoryStatistics {
  int64_t memories = 0;
  int64_t tokens = 0;
  int64_t bytes = 0;  ///< of live records
  /// Of the segment files: what exceeds `bytes` is padding, or dead and reclaimed by compact()
  int64_t segment_bytes = 0;
  int64_t waiting = 0;               ///< chunks without a memory made for the aim asked about
  std::vector<MemoryKind> kinds;     ///< by preset
  std::vector<double> quality_gaps;  ///< measured ones, rising
};

enum class Damaged {
  report,   ///< leave it
  discard,  ///< make it invisible, so that it is made again from the text
};

struct LexicalHit {
  int64_t document_row = 0;
  double score = 0;  ///< BM25, higher is better
};

struct KvBasis;

struct StoreOptions {
  std::size_t segment_bytes = std::size_t{1} << 30;  ///< a segment file is closed past this
  bool read_only = false;        ///< no lock, no writes: for tools beside a running service
  const Clock* clock = nullptr;  ///< null = system clock
  /// What records of codec.quantiser = transform are read in; null: those are NotSupported
  std::shared_ptr<const KvBasis> basis;
};

class Store {
 public:
  /// Opens or creates the store. Throws Unavailable naming the other process when the directory is
  /// locked, InvalidArgument when it cannot be written, DataCorruption when the database fails its
  /// check or has a newer schema.
  static std::unique_ptr<Store> open(const std::string& directory,
                                     const StoreOptions& options = {});

  virtual ~Store() = default;

  // ---- Ingest log

  /// Appends all entries in one transaction and waits for the disk; fills in and returns their
  /// offsets. An entry whose (session, sequence) was logged before gets offset 0: it is a duplicate
  /// and is not logged again. Throws ResourceExhausted when the disk is full (nothing is logged).
  virtual std::vector<int64_t> append_log(std::span<const LogEntry> entries) = 0;

  /// Entries after `after` that are not applied yet, in offset order, at most `limit`.
  virtual std::vector<LogEntry> pending_log(int64_t after, int64_t limit) = 0;

  /// Highest sequence logged for a session; 0 for an unknown one.
  virtual uint64_t last_sequence(const std::string& session) = 0;

  // ---- Documents

  /// Commits all deposits in one transaction after their records are on the disk, and marks their
  /// offsets applied. Outcomes in order. Chunks of the same tokens share one record, which stays as
  /// long as a chunk names it.
  virtual std::vector<CommitOutcome> commit(std::span<const Deposit> deposits) = 0;

  /// Applies a logged erase: removes text, memories, keys, full-text row and what the gate holds of
  /// it, leaves a tombstone at `version` (a put at or below it is stale). True when a document was
  /// there. `removed_row` receives its row, or 0.
  virtual bool erase(const LogEntry& entry, int64_t* removed_row) = 0;

  /// Marks an offset applied without storing anything (poison document), with a dead letter saying
  /// why.
  virtual void reject(const LogEntry& entry, const std::string& reason) = 0;

  /// Marks an offset applied and keeps the document aside with the gate's verdict, in place of an
  /// older version held. A version at or below a stored, held or erased one is only marked applied.
  virtual void hold_back(const LogEntry& entry, const GateVerdict& verdict) = 0;

  /// Documents held back in order of their arrival, newest first, at most `limit`. Once a version as
  /// high or higher is stored or erased, a document is held no more.
  virtual std::vector<HeldDocument> held_documents(int64_t limit) = 0;
  virtual std::optional<HeldDocument> held_document(const std::string& name_space,
                                                    const std::string& id) = 0;

  virtual std::optional<DocumentSummary> find(const std::string& name_space,
                                              const std::string& id) = 0;
  virtual std::optional<Document> read_document(const std::string& name_space,
                                                const std::string& id) = 0;
  virtual std::optional<DocumentSummary> summary(int64_t document_row) = 0;
  virtual std::optional<Document> read_document(int64_t document_row) = 0;

  /// Documents of a namespace in id order, after `after_id`, at most `limit`. Empty namespace = all
  /// (in namespace, id order; `after_id` ignored).
  virtual std::vector<DocumentSummary> list(const std::string& name_space,
                                            const std::string& after_id, int64_t limit) = 0;

  // ---- Memories

  /// From now on memories under any of `members` serve who asks for `family` (load_memory,
  /// chunks_without_memory, counts). They are given out under the family's name.
  virtual void set_family(const Digest& family, std::vector<Digest> members) = 0;

  virtual std::vector<ChunkRow> chunks(int64_t document_row) = 0;

  /// The memory of a chunk made under `fingerprint`; nothing when there is none. Checks CRC,
  /// fingerprint and token hash from inside the record; a record that fails is made invisible (its
  /// row goes) and nothing is returned.
  virtual std::shared_ptr<const Memory> load_memory(int64_t chunk_row,
                                                    const Digest& fingerprint) = 0;

  /// Chunks without a memory under `fingerprint`, in row order after `after_row`, at most `limit`.
  virtual std::vector<ChunkRow> chunks_without_memory(const Digest& fingerprint, int64_t after_row,
                                                      int64_t limit) = 0;

  /// Chunks without a memory that was made for `aim` (MemoryOrigin), likewise.
  virtual std::vector<ChunkRow> chunks_not_made_for(const Digest& aim, int64_t after_row,
                                                    int64_t limit) = 0;

  /// Quality gaps of the memories made under `fingerprint`, newest first, at most `limit`.
  virtual std::vector<double> quality_gaps(const Digest& fingerprint, int64_t limit) = 0;

  /// Adds memories for existing chunks (re-making after a model change); older memories of the
  /// chunk go. Chunks that vanished are skipped.
  virtual void add_memories(std::span<const int64_t> chunk_rows,
                            std::span<const Memory> memories) = 0;

  // ---- Retrieval

  /// BM25 (k1 1.2, b 0.75) over title and text, best first, at most `limit`. as_of_us: 0 = no
  /// filter, else only valid_from_us <= as_of_us.
  virtual std::vector<LexicalHit> search_text(const std::string& name_space,
                                              const std::string& query, int64_t limit,
                                              int64_t as_of_us) = 0;

  /// Calls `visit` for the keys of every document made under `encoder`.
  virtual void each_keys(const Digest& encoder,
                         const std::function<void(const DocumentKeys&)>& visit) = 0;

  /// Documents without keys under `encoder`, at most `limit` rows after `after_row`.
  virtual std::vector<int64_t> documents_without_keys(const Digest& encoder, int64_t after_row,
                                                      int64_t limit) = 0;

  /// Replaces the keys of a document. False when it vanished.
  virtual bool replace_keys(int64_t document_row, const Digest& encoder,
                            std::span<const float> keys, int64_t dimension) = 0;

  // ---- Upkeep

  virtual void add_dead_letter(const DeadLetter& letter) = 0;
  virtual std::vector<DeadLetter> dead_letters(int64_t limit) = 0;
  virtual StoreCounts counts(const Digest& fingerprint) = 0;

  /// Rewrites segments whose live share is below `min_live_share`; returns bytes freed. Reads go on
  /// meanwhile, and so do writes, a sixty-fourth of a segment after the other.
  virtual int64_t compact(double min_live_share = 0.5) = 0;

  /// Checks database pages and every live record; returns one line for each thing found wrong.
  virtual std::vector<std::string> verify(Damaged damaged = Damaged::report) = 0;

  virtual MemoryStatistics memory_statistics(const Digest& aim) = 0;

  /// A word the instance remembers; empty when it was never set.
  virtual std::string setting(const std::string& name) = 0;
  virtual void set_setting(const std::string& name, const std::string& value) = 0;

  /// The samples that selectors choose from. Lives as long as the store.
  virtual SampleLog& samples() = 0;

  virtual const std::string& directory() const = 0;
};

}  // namespace alluvium::memory_bank
