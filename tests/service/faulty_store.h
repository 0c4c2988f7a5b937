// A store whose writes fail on demand, in front of a real one.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "alluvium/memory_bank/store.h"

namespace alluvium::tests {

class FaultyStore final : public memory_bank::Store {
 public:
  /// `before_commit` may throw in place of a commit; it must be thread-safe.
  using Fault = std::function<void(std::span<const memory_bank::Deposit>)>;

  FaultyStore(const std::string& directory, Fault before_commit)
      : inner_(memory_bank::Store::open(directory)), before_commit_(std::move(before_commit)) {}

  std::vector<memory_bank::CommitOutcome> commit(
      std::span<const memory_bank::Deposit> deposits) override {
    before_commit_(deposits);
    return inner_->commit(deposits);
  }

  std::vector<int64_t> append_log(std::span<const memory_bank::LogEntry> entries) override {
    return inner_->append_log(entries);
  }
  std::vector<memory_bank::LogEntry> pending_log(int64_t after, int64_t limit) override {
    return inner_->pending_log(after, limit);
  }
  uint64_t last_sequence(const std::string& session) override {
    return inner_->last_sequence(session);
  }
  bool erase(const memory_bank::LogEntry& entry, int64_t* removed_row) override {
    return inner_->erase(entry, removed_row);
  }
  void reject(const memory_bank::LogEntry& entry, const std::string& reason) override {
    inner_->reject(entry, reason);
  }
  void hold_back(const memory_bank::LogEntry& entry,
                 const memory_bank::GateVerdict& verdict) override {
    inner_->hold_back(entry, verdict);
  }
  std::vector<memory_bank::HeldDocument> held_documents(int64_t limit) override {
    return inner_->held_documents(limit);
  }
  std::optional<memory_bank::HeldDocument> held_document(const std::string& name_space,
                                                         const std::string& id) override {
    return inner_->held_document(name_space, id);
  }
  std::optional<memory_bank::DocumentSummary> find(const std::string& name_space,
                                                   const std::string& id) override {
    return inner_->find(name_space, id);
  }
  std::optional<Document> read_document(const std::string& name_space,
                                        const std::string& id) override {
    return inner_->read_document(name_space, id);
  }
  std::optional<memory_bank::DocumentSummary> summary(int64_t document_row) override {
    return inner_->summary(document_row);
  }
  std::optional<Document> read_document(int64_t document_row) override {
    return inner_->read_document(document_row);
  }
  std::vector<memory_bank::DocumentSummary> list(const std::string& name_space,
                                                 const std::string& after_id,
                                                 int64_t limit) override {
    return inner_->list(name_space, after_id, limit);
  }
  std::vector<memory_bank::ChunkRow> chunks(int64_t document_row) override {
    return inner_->chunks(document_row);
  }
  std::shared_ptr<const memory_bank::Memory> load_memory(int64_t chunk_row,
                                                         const Digest& fingerprint) override {
    return inner_->load_memory(chunk_row, fingerprint);
  }
  std::vector<memory_bank::ChunkRow> chunks_without_memory(const Digest& fingerprint,
                                                           int64_t after_row,
                                                           int64_t limit) override {
    return inner_->chunks_without_memory(fingerprint, after_row, limit);
  }
  void add_memories(std::span<const int64_t> chunk_rows,
                    std::span<const memory_bank::Memory> memories) override {
    inner_->add_memories(chunk_rows, memories);
  }
  std::vector<memory_bank::LexicalHit> search_text(const std::string& name_space,
                                                   const std::string& query, int64_t limit,
                                                   int64_t as_of_us) override {
    return inner_->search_text(name_space, query, limit, as_of_us);
  }
  void each_keys(const Digest& encoder,
                 const std::function<void(const memory_bank::DocumentKeys&)>& visit) override {
    inner_->each_keys(encoder, visit);
  }
  std::vector<int64_t> documents_without_keys(const Digest& encoder, int64_t after_row,
                                              int64_t limit) override {
    return inner_->documents_without_keys(encoder, after_row, limit);
  }
  bool replace_keys(int64_t document_row, const Digest& encoder, std::span<const float> keys,
                    int64_t dimension) override {
    return inner_->replace_keys(document_row, encoder, keys, dimension);
  }
  void add_dead_letter(const memory_bank::DeadLetter& letter) override {
    inner_->add_dead_letter(letter);
  }
  std::vector<memory_bank::DeadLetter> dead_letters(int64_t limit) override {
    return inner_->dead_letters(limit);
  }
  memory_bank::StoreCounts counts(const Digest& fingerprint) override {
    return inner_->counts(fingerprint);
  }
  int64_t compact(double min_live_share) override { return inner_->compact(min_live_share); }
  std::vector<std::string> verify(memory_bank::Damaged damaged) override {
    return inner_->verify(damaged);
  }
  void set_family(const Digest& family, std::vector<Digest> members) override {
    inner_->set_family(family, std::move(members));
  }
  std::vector<memory_bank::ChunkRow> chunks_not_made_for(const Digest& aim, int64_t after_row,
                                                         int64_t limit) override {
    return inner_->chunks_not_made_for(aim, after_row, limit);
  }
  std::vector<double> quality_gaps(const Digest& fingerprint, int64_t limit) override {
    return inner_->quality_gaps(fingerprint, limit);
  }
  memory_bank::MemoryStatistics memory_statistics(const Digest& aim) override {
    return inner_->memory_statistics(aim);
  }
  std::string setting(const std::string& name) override { return inner_->setting(name); }
  void set_setting(const std::string& name, const std::string& value) override {
    inner_->set_setting(name, value);
  }
  memory_bank::SampleLog& samples() override { return inner_->samples(); }
  const std::string& directory() const override { return inner_->directory(); }

 private:
  const std::unique_ptr<memory_bank::Store> inner_;
  const Fault before_commit_;
};

}  // namespace alluvium::tests
