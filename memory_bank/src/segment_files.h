// Append-only files of memory records.
//
// Purpose: give a record a place on the disk. Which places are alive is the database's knowledge
//          alone: bytes without a row are free to be overwritten, so a torn tail needs no repair.
// Layout : docs/FORMATS.md, "Segment file".
// Threads: one writer at a time (append, sync, rewind, start_new, remove); read() and sizes()
//          beside it on any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "file_system.h"

namespace alluvium::memory_bank {

struct RecordPlace {
  int64_t segment = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;

  bool operator==(const RecordPlace&) const = default;
};

class SegmentFiles {
 public:
  static constexpr uint64_t kHeaderBytes = 64;
  static constexpr uint64_t kAlignment = 64;

  /// files must outlive it. segment_bytes: a file past this takes no more records.
  SegmentFiles(FileSystem& files, std::string directory, uint64_t segment_bytes);

  /// Before the first append: `live_ends` is the end of the last live record of each segment.
  /// Removes files without one, cuts torn tails.
  void recover(const std::map<int64_t, uint64_t>& live_ends);

  /// Writes a record after the last one. Not durable before sync().
  RecordPlace append(std::span<const std::byte> record);

  /// Makes every appended record durable. After a failure the segment takes no more records: what
  /// the kernel still holds of it is unknown.
  void sync();

  /// Where the next record goes; rewind() to it gives the space of later records back.
  RecordPlace mark() const { return {current_, end_, 0}; }
  void rewind(const RecordPlace& mark);

  /// The next record begins a new file.
  void start_new() { current_ = 0; }

  /// The record's bytes. Throws DataCorruption when file or bytes are missing.
  std::vector<std::byte> read(const RecordPlace& place) const;

  void remove(int64_t segment);

  /// Bytes in use by each segment, header included.
  std::map<int64_t, uint64_t> sizes() const;

  /// Bytes a record takes in its file.
  static uint64_t padded(uint64_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }

 private:
  std::string path_of(int64_t segment) const;
  void create_segment();
  std::shared_ptr<const File> reader(int64_t segment) const;

  FileSystem& files_;
  const std::string directory_;
  const uint64_t segment_bytes_;

  std::unique_ptr<File> writer_;
  int64_t current_ = 0;  // 0: the next append creates a file
  int64_t highest_ = 0;  // numbers are not used again
  uint64_t end_ = 0;

  mutable std::mutex mutex_;
  std::map<int64_t, uint64_t> sizes_;
  mutable std::map<int64_t, std::shared_ptr<const File>> readers_;
};

}  // namespace alluvium::memory_bank
