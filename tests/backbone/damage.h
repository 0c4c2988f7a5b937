// What a reader must do with a damaged file: read it, or refuse it as one of three errors. Anything else fails the test.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "alluvium/backbone/checkpoint.h"
#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "support/checkpoint_writers.h"

namespace alluvium::tests {

/// Opens the checkpoint at `path` and reads every tensor's bytes. Returns the kind of the refusal, nothing when all could be read.
inline std::optional<ErrorKind> read_all(const std::string& path) {
  try {
    const auto checkpoint = backbone::open_checkpoint(path);
    for (const backbone::StoredTensor& tensor : checkpoint->tensors()) {
      backbone::dequantise(tensor);
    }
    return std::nullopt;
  } catch (const Error& error) {
    return error.kind();
  }
}

inline bool is_refusal_of_damage(std::optional<ErrorKind> kind) {
  return kind == ErrorKind::data_corruption || kind == ErrorKind::not_supported ||
         kind == ErrorKind::invalid_argument;
}

/// `bytes` with one bit turned.
inline std::string with_bit_flipped(std::string bytes, std::size_t byte, unsigned bit) {
  bytes[byte] = static_cast<char>(static_cast<unsigned char>(bytes[byte]) ^ (1U << bit));
  return bytes;
}

}  // namespace alluvium::tests
