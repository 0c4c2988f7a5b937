// The readers of a running service: low-rank adapters that act on question and answer tokens.
//
// Purpose: load, switch and roll back while questions are answered. An answer pins the reader it began with; a new one is complete before
//          it becomes the active one, and nothing about a memory depends on it.
// Source : docs/adr/0006. Several adapters in one batch as in S-LoRA (Sheng et al., MLSys 2024).
// Threads: thread-safe. find() copies one pointer; load() reads files on the caller's thread.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "alluvium/backbone/decoder.h"
#include "alluvium/learners/adapter_file.h"

namespace alluvium::service {

struct LoadedReader {
  learners::AdapterManifest manifest;
  std::shared_ptr<const backbone::Adapter> adapter;

  /// "name@version", as answers name it.
  std::string label() const;
};

/// Whether `answer` is the declared refusal, up to case, white space and full stops at its ends.
bool is_refusal(std::string_view answer, std::string_view refusal);

struct ReaderStatus {
  std::string name;
  int64_t version = 0;
  bool active = false;
  std::map<std::string, double> metrics;  ///< of its manifest
  std::string created;
};

class ReaderShelf {
 public:
  /// Takes up what the instance had: <directory>/adapters and the order in which readers were
  /// activated there. A new instance begins with a copy of the reader in `initial`: a directory,
  /// "none", or "auto" for the one that ./run installed, if it fits this decoder. A reader that
  /// cannot be loaded any more is left out and reported by problem(). Throws as load() does on a
  /// directory in `initial`.
  ReaderShelf(const std::string& instance_directory, const std::string& initial,
              const backbone::Decoder& decoder);

  /// Copies the adapter of `source` into the instance, durably, and makes it the active reader; one
  /// of the same name and version is replaced. Throws as learners::load_adapter does, or
  /// ResourceExhausted; the readers of the service are then as before.
  ReaderStatus load(const std::string& source);

  /// The active reader (`name` empty, or naming it): questions that name none are answered without
  /// a reader from now on. Another: it is forgotten, and its copy removed. A bare name means the
  /// active reader of that name, else the newest. Throws InvalidArgument when there is none.
  void unload(const std::string& name);

  /// Makes the reader that was active before the present one active again, or none when that was
  /// so. Throws InvalidArgument when there is nothing to go back to.
  void rollback();

  std::vector<ReaderStatus> list() const;

  /// Empty: the active reader; "none": null; else the one of that name (the newest) or
  /// name@version. Throws InvalidArgument naming those there are.
  std::shared_ptr<const LoadedReader> find(const std::string& name) const;

  /// What kept a stored reader from being loaded, for status and log; empty when nothing did.
  const std::string& problem() const { return problem_; }

 private:
  using Reader = std::shared_ptr<const LoadedReader>;
  using Readers = std::map<std::string, Reader>;

  std::string folder_of(const std::string& label) const;
  void restore();
  void commit(Readers readers, std::vector<std::string> history);
  const std::string& active() const;
  Reader named(const std::string& name) const;

  const std::string directory_;  // <instance>/adapters
  const backbone::Decoder& decoder_;
  std::string problem_;
  std::mutex change_mutex_;   // one load, unload or rollback at a time; taken before mutex_
  mutable std::mutex mutex_;  // guards what follows; never held while files are read or written
  Readers readers_;           // by label
  std::vector<std::string> history_;  // labels as activated, the active one last; "none" for none
};

}  // namespace alluvium::service
