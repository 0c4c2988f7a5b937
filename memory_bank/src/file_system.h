// The few file operations of the segment store, behind an interface that tests replace to fill the
// disk or tear a write.
//
// Threads: FileSystem is thread-safe; a File's calls are thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace alluvium::memory_bank {

enum class Access { read, write };

class File {
 public:
  virtual ~File() = default;

  /// Writes all bytes or throws: ResourceExhausted when the disk is full, Unavailable on a device
  /// error.
  virtual void write_at(uint64_t offset, std::span<const std::byte> bytes) = 0;

  /// Fills `bytes`. Throws DataCorruption when the file ends before, Unavailable on a device error.
  virtual void read_at(uint64_t offset, std::span<std::byte> bytes) const = 0;

  /// Returns when the disk has everything written so far.
  virtual void sync() = 0;

  virtual uint64_t size() const = 0;
  virtual void truncate(uint64_t size) = 0;
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  /// Throws DataCorruption when the file is not there, InvalidArgument when it may not be opened.
  virtual std::unique_ptr<File> open(const std::string& path, Access access) = 0;

  /// A new empty file, durable in its directory.
  virtual std::unique_ptr<File> create(const std::string& path) = 0;

  /// Nothing happens when it is not there.
  virtual void remove(const std::string& path) = 0;

  /// Names of the entries of a directory, in any order; nothing when it is not there.
  virtual std::vector<std::string> list(const std::string& directory) const = 0;

  /// Makes the directory, and those above it, when it is not there; durable in its parent.
  virtual void make_directory(const std::string& path) = 0;
};

/// The machine's own files.
FileSystem& real_file_system();

}  // namespace alluvium::memory_bank
