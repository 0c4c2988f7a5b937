// A cursor over a file's bytes that refuses to pass their end.
//
// Purpose: the only way the GGUF reader touches bytes, so that no length in a file is trusted before it was compared with what is left.
// Threads: thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "alluvium/core/error.h"

namespace alluvium::backbone {

class ByteReader {
 public:
  /// bytes: must outlive the reader. `file` names the source in errors.
  ByteReader(std::string_view bytes, std::string file) : bytes_(bytes), file_(std::move(file)) {}

  std::size_t offset() const { return offset_; }
  std::size_t remaining() const { return bytes_.size() - offset_; }

  /// The next little-endian number. `field` names it in the DataCorruption thrown when the file
  /// ends before it.
  template <class Number>
  Number read(std::string_view field) {
    static_assert(std::is_arithmetic_v<Number>);
    Number number;
    std::memcpy(&number, take(sizeof(Number), field).data(), sizeof(Number));
    return number;
  }

  /// The next 64-bit length and as many bytes, which stay in the mapping.
  std::string_view read_text(std::string_view field) { return take(read<uint64_t>(field), field); }

  /// The next 64-bit count of things that take at least `least_bytes` each: refused when they
  /// cannot fit into what is left, so that a caller may allocate for `count`.
  std::size_t read_count(std::size_t least_bytes, std::string_view field) {
    const auto count = read<uint64_t>(field);
    if (count > remaining() / least_bytes) {
      fail(
          fmt::format("{} is {}, more than the {} bytes left can hold", field, count, remaining()));
    }
    return count;
  }

  /// Throws DataCorruption with the file's name and the offset.
  [[noreturn]] void fail(const std::string& what) const {
    throw DataCorruption(fmt::format("'{}' is damaged at byte {}: {}", file_, offset_, what));
  }

 private:
  std::string_view take(uint64_t size, std::string_view field) {
    if (size > remaining()) {
      fail(fmt::format("{} needs {} bytes, {} are left", field, size, remaining()));
    }
    const std::string_view taken = bytes_.substr(offset_, size);
    offset_ += size;
    return taken;
  }

  std::string_view bytes_;
  std::string file_;
  std::size_t offset_ = 0;
};

}  // namespace alluvium::backbone
