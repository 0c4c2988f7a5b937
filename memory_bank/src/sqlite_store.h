// The Store over SQLite and segment files: locks, transactions and the order of writes. The SQL
// lives in the *_table files.
//
// Note [write order]: a record is on the disk before the transaction that names it begins, so a
// row never names bytes that are not there. Bytes without a row are free: recover() cuts them off,
// compact() drops them.
//
// Threads: thread-safe. segments_mutex_ (who appends records) is taken before writer_mutex_ (who
//          uses the write connection); readers take neither.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "alluvium/memory_bank/store.h"
#include "connection_pool.h"
#include "directory_lock.h"
#include "file_system.h"
#include "memory_table.h"
#include "sample_table.h"
#include "segment_files.h"
#include "sqlite.h"

namespace alluvium::memory_bank {

/// What tests put in place of the machine.
struct StoreSeams {
  FileSystem* files = nullptr;     ///< null = the machine's own
  int64_t max_database_pages = 0;  ///< the database reports a full disk past this; 0 = no limit
};

class SqliteStore final : public Store {
 public:
  SqliteStore(const std::string& directory, const StoreOptions& options, const StoreSeams& seams);

  std::vector<int64_t> append_log(std::span<const LogEntry> entries) override;
  std::vector<LogEntry> pending_log(int64_t after, int64_t limit) override;
  uint64_t last_sequence(const std::string& session) override;

  std::vector<CommitOutcome> commit(std::span<const Deposit> deposits) override;
  bool erase(const LogEntry& entry, int64_t* removed_row) override;
  void reject(const LogEntry& entry, const std::string& reason) override;
  void hold_back(const LogEntry& entry, const GateVerdict& verdict) override;
  std::vector<HeldDocument> held_documents(int64_t limit) override;
  std::optional<HeldDocument> held_document(const std::string& name_space,
                                            const std::string& id) override;
  std::optional<DocumentSummary> find(const std::string& name_space,
                                      const std::string& id) override;
  std::optional<Document> read_document(const std::string& name_space,
                                        const std::string& id) override;
  std::optional<DocumentSummary> summary(int64_t document_row) override;
  std::optional<Document> read_document(int64_t document_row) override;
  std::vector<DocumentSummary> list(const std::string& name_space, const std::string& after_id,
                                    int64_t limit) override;

  void set_family(const Digest& family, std::vector<Digest> members) override;
  std::vector<ChunkRow> chunks(int64_t document_row) override;
  std::shared_ptr<const Memory> load_memory(int64_t chunk_row, const Digest& fingerprint) override;
  std::vector<ChunkRow> chunks_without_memory(const Digest& fingerprint, int64_t after_row,
                                              int64_t limit) override;
  std::vector<ChunkRow> chunks_not_made_for(const Digest& aim, int64_t after_row,
                                            int64_t limit) override;
  std::vector<double> quality_gaps(const Digest& fingerprint, int64_t limit) override;
  void add_memories(std::span<const int64_t> chunk_rows, std::span<const Memory> memories) override;

  std::vector<LexicalHit> search_text(const std::string& name_space, const std::string& query,
                                      int64_t limit, int64_t as_of_us) override;
  void each_keys(const Digest& encoder,
                 const std::function<void(const DocumentKeys&)>& visit) override;
  std::vector<int64_t> documents_without_keys(const Digest& encoder, int64_t after_row,
                                              int64_t limit) override;
  bool replace_keys(int64_t document_row, const Digest& encoder, std::span<const float> keys,
                    int64_t dimension) override;

  void add_dead_letter(const DeadLetter& letter) override;
  std::vector<DeadLetter> dead_letters(int64_t limit) override;
  StoreCounts counts(const Digest& fingerprint) override;
  int64_t compact(double min_live_share) override;
  std::vector<std::string> verify(Damaged damaged = Damaged::report) override;
  MemoryStatistics memory_statistics(const Digest& aim) override;
  std::string setting(const std::string& name) override;
  void set_setting(const std::string& name, const std::string& value) override;
  SampleLog& samples() override { return samples_; }
  const std::string& directory() const override { return directory_; }

 private:
  /// Runs `body(connection)` in one transaction of the write connection.
  void write(const std::function<void(Connection&)>& body);

  /// Appends the records of all memories with tensors and waits for the disk; gives their space
  /// back on failure. An entry without tensors gets a place of 0 bytes, one whose text has a record
  /// under its fingerprint the place of that. segments_mutex_ must be held: a place whose row goes
  /// meanwhile keeps its bytes.
  std::vector<RecordPlace> append_records(std::span<const Memory* const> memories);

  /// Appends the records of `memories` and, once they are durable, runs `body` in a transaction
  /// with their places.
  void write_with_records(
      std::span<const Memory* const> memories,
      const std::function<void(Connection&, std::span<const RecordPlace>)>& body);

  /// Reads a record and checks that it is the memory of this chunk under this fingerprint. Throws
  /// DataCorruption when it is not.
  Memory read_checked(const MemoryRow& row, const std::vector<backbone::TokenId>& tokens) const;

  /// The place of a sound live record of the same tokens under the same fingerprint.
  std::optional<RecordPlace> find_equal(const Memory& memory);

  /// The fingerprints that serve who asks for `fingerprint`: its family's members, or itself.
  std::vector<Digest> members_of(const Digest& fingerprint) const;

  /// The first live records of a segment by their offset, a sixty-fourth of a full segment of them;
  /// one that cannot be read is empty.
  std::map<uint64_t, std::vector<std::byte>> read_first_records(int64_t segment);

  /// One round of emptying a segment: its first records that live go elsewhere, or it goes when none
  /// does. What that frees is added to `freed`. False when the segment is gone.
  bool move_records(int64_t segment, int64_t& freed);

  void compact_database();
  void verify_database(std::vector<std::string>& findings);

  const std::string directory_;
  const StoreOptions options_;
  const SystemClock system_clock_{};
  const Clock& clock_;
  FileSystem& files_;
  std::unique_ptr<DirectoryLock> lock_;

  std::mutex writer_mutex_;
  std::unique_ptr<Connection> writer_;  // null when read-only
  ConnectionPool readers_;
  SampleTable samples_{[this](const auto& body) { write(body); }, readers_};

  std::mutex segments_mutex_;
  SegmentFiles segments_;

  mutable std::mutex families_mutex_;  // nothing else is locked under it
  std::map<Digest, std::vector<Digest>> families_;
};

}  // namespace alluvium::memory_bank
