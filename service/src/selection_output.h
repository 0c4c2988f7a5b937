// Lines written to a file that can be cut back to a checkpoint, or to standard output.
//
// Threads: owned by one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace alluvium::service {

class SelectionOutput {
 public:
  enum class Kind { off, standard_output, file };

  SelectionOutput() = default;
  ~SelectionOutput();
  SelectionOutput(const SelectionOutput&) = delete;
  SelectionOutput& operator=(const SelectionOutput&) = delete;

  /// Opens a file and keeps its first `bytes` bytes. Throws InvalidArgument when it cannot, or when it has fewer.
  void open_file(const std::string& path, int64_t bytes);
  void open_standard_output() { kind_ = Kind::standard_output; }

  /// Appends the line and its end; nothing when not opened. Throws Unavailable when writing fails.
  void write(const std::string& line);

  /// Appends bytes as they are.
  void write_bytes(std::string_view bytes);

  /// Hands everything to the system; a file is on the disk afterwards when `durable`.
  void flush(bool durable);

  /// Bytes written to the file; 0 for others.
  int64_t bytes() const { return bytes_; }

 private:
  Kind kind_ = Kind::off;
  std::string path_;
  std::string buffer_;
  int descriptor_ = -1;
  int64_t bytes_ = 0;
};

}  // namespace alluvium::service
