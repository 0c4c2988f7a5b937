// A file's bytes, mapped read-only.
//
// Differs: a file that another process truncates while it is mapped faults on access (POSIX gives no better answer); replace model files by
//          rename instead.
// Threads: immutable after construction.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace alluvium::backbone {

class MappedFile {
 public:
  /// Throws InvalidArgument when `path` is not a readable regular file. An empty file maps to no
  /// bytes.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace alluvium::backbone
