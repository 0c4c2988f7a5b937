// Lines of a file, plain or gzip, or of standard input, with a limit on what one line may hold in
// memory.
//
// Purpose: a line over the limit is counted and passed by, never kept whole.
// Threads: owned by one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace alluvium::streams {

/// Bytes of a file or of standard input.
class ByteInput {
 public:
  virtual ~ByteInput() = default;

  /// Fills at most `size` bytes and returns how many; 0 at the end. Throws Unavailable when reading
  /// fails.
  virtual std::size_t read(char* bytes, std::size_t size) = 0;

  /// Share of the file read; nothing when its size is unknown.
  virtual std::optional<double> progress() const { return std::nullopt; }
};

/// A file, unpacked on the way when it is gzip. Throws InvalidArgument when it cannot be opened;
/// read() throws Unavailable when the gzip stream is damaged or ends early.
std::unique_ptr<ByteInput> open_file_input(const std::string& path);

/// Standard input; a read returns what has arrived, so that a slow producer's documents are not
/// held back.
std::unique_ptr<ByteInput> open_standard_input();

/// A line without its end. `text` holds the first bytes only when the line is longer than the
/// limit.
struct Line {
  std::string text;
  int64_t number = 0;     ///< 1-based
  std::size_t bytes = 0;  ///< of the whole line
};

class LineReader {
 public:
  /// limit_bytes: the most that a line's text keeps.
  LineReader(std::unique_ptr<ByteInput> input, std::size_t limit_bytes);

  /// The next line; nothing at the end. "\r\n" ends a line too, and a byte order mark before the
  /// first line is left out.
  std::optional<Line> next();

  std::optional<double> progress() const { return input_->progress(); }

 private:
  bool fill();

  std::unique_ptr<ByteInput> input_;
  std::size_t limit_bytes_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  int64_t lines_ = 0;
};

}  // namespace alluvium::streams
