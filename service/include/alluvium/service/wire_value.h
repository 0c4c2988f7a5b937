// MessagePack, as much of it as message headers need, with limits that hold before anything is
// allocated.
//
// Source : MessagePack specification (msgpack.org); limits: docs/FORMATS.md, "Wire protocol".
// Differs: timestamps and other extension types are refused; float32 is widened to float64.
// Threads: plain data and pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace alluvium::service {

/// Raw bytes, told apart from text.
struct WireBytes {
  std::string bytes;

  bool operator==(const WireBytes&) const = default;
};

/// One MessagePack value. Non-negative integers are always uint64_t, negative ones int64_t.
struct WireValue {
  using Array = std::vector<WireValue>;
  using Map = std::vector<std::pair<WireValue, WireValue>>;

  std::variant<std::monostate, bool, uint64_t, int64_t, double, std::string, WireBytes, Array, Map>
      value;

  bool operator==(const WireValue&) const = default;
};

struct WireLimits {
  std::size_t bytes = std::size_t{64} << 10;  ///< of the whole encoding, and so of any string in it
  int64_t depth = 8;                          ///< containers inside one another
  std::size_t map_entries = 256;
  std::size_t array_entries = 4096;
};

/// The shortest encoding of `value`.
std::string encode_wire_value(const WireValue& value);

/// Decodes exactly one value that fills `bytes`. Throws InvalidArgument naming the byte offset and
/// what is wrong: truncated, trailing bytes, over a limit, an extension type, text that is not
/// UTF-8.
WireValue decode_wire_value(std::string_view bytes, const WireLimits& limits = {});

}  // namespace alluvium::service
