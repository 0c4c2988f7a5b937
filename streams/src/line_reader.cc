#include "alluvium/streams/line_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <zlib.h>

#include "alluvium/core/error.h"

namespace alluvium::streams {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{256} << 10;

class FileInput final : public ByteInput {
 public:
  explicit FileInput(const std::string& path) : path_(path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    ALLUVIUM_CHECK(descriptor >= 0, "cannot read '{}': {}", path, std::strerror(errno));
    struct stat status {};
    if (::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode)) {
      size_ = status.st_size;
    }
    // zlib hands plain files through unchanged; the descriptor is its own from here on.
    file_ = gzdopen(descriptor, "rb");
    if (file_ == nullptr) {
      ::close(descriptor);
      throw ResourceExhausted(fmt::format("no memory to read '{}'", path));
    }
    gzbuffer(file_, static_cast<unsigned>(kBufferBytes));
  }

  ~FileInput() override { gzclose(file_); }
  FileInput(const FileInput&) = delete;
  FileInput& operator=(const FileInput&) = delete;

  std::size_t read(char* bytes, std::size_t size) override {
    const int got = gzread(file_, bytes, static_cast<unsigned>(size));
    if (got < static_cast<int>(size)) {
      // A stream that ends early is reported here only: gzread itself returns what there was.
      int code = Z_OK;
      const char* message = gzerror(file_, &code);
      if (code == Z_ERRNO) {
        throw Unavailable(fmt::format("cannot read '{}': {}", path_, std::strerror(errno)));
      }
      if (code != Z_OK && code != Z_STREAM_END) {
        throw Unavailable(fmt::format("'{}' is a damaged gzip file: {}", path_, message));
      }
    }
    return static_cast<std::size_t>(std::max(got, 0));
  }

  std::optional<double> progress() const override {
    if (size_ <= 0) {
      return std::nullopt;
    }
    const auto offset = static_cast<double>(gzoffset(file_));
    return std::clamp(offset / static_cast<double>(size_), 0.0, 1.0);
  }

 private:
  std::string path_;
  gzFile file_ = nullptr;
  int64_t size_ = 0;
};

class StandardInput final : public ByteInput {
 public:
  std::size_t read(char* bytes, std::size_t size) override {
    ssize_t got = 0;
    do {
      got = ::read(STDIN_FILENO, bytes, size);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
      throw Unavailable(fmt::format("cannot read standard input: {}", std::strerror(errno)));
    }
    return static_cast<std::size_t>(got);
  }
};

}  // namespace

std::unique_ptr<ByteInput> open_file_input(const std::string& path) {
  return std::make_unique<FileInput>(path);
}

std::unique_ptr<ByteInput> open_standard_input() { return std::make_unique<StandardInput>(); }

LineReader::LineReader(std::unique_ptr<ByteInput> input, std::size_t limit_bytes)
    : input_(std::move(input)), limit_bytes_(limit_bytes), buffer_(kBufferBytes) {}

bool LineReader::fill() {
  begin_ = 0;
  end_ = input_->read(buffer_.data(), buffer_.size());
  return end_ > 0;
}

std::optional<Line> LineReader::next() {
  Line line;
  bool found_end = false;
  bool found_any = false;
  while (!found_end && (begin_ < end_ || fill())) {
    found_any = true;
    const char* first = buffer_.data() + begin_;
    const std::size_t there = end_ - begin_;
    const void* newline = std::memchr(first, '\n', there);
    found_end = newline != nullptr;
    const std::size_t taken =
        found_end ? static_cast<std::size_t>(static_cast<const char*>(newline) - first) : there;
    line.text.append(first, std::min(taken, limit_bytes_ - line.text.size()));
    line.bytes += taken;
    begin_ += taken + (found_end ? 1 : 0);
  }
  if (!found_any) {
    return std::nullopt;
  }
  line.number = ++lines_;
  const bool whole = line.bytes == line.text.size();
  if (whole && !line.text.empty() && line.text.back() == '\r') {
    line.text.pop_back();
    --line.bytes;
  }
  if (line.number == 1 && line.text.starts_with("\xef\xbb\xbf")) {
    line.text.erase(0, 3);
    line.bytes -= 3;
  }
  return line;
}

}  // namespace alluvium::streams
