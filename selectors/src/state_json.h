// A selector's state as CBOR (RFC 8949): numbers keep every bit.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"

namespace alluvium::selectors {

inline std::string pack_state(const nlohmann::json& state) {
  std::string bytes;
  nlohmann::json::to_cbor(state, bytes);
  return bytes;
}

/// Calls read(json); a state that is not what it expects becomes DataCorruption.
template <class Read>
void unpack_state(std::string_view bytes, std::string_view selector, const Read& read) {
  try {
    read(nlohmann::json::from_cbor(bytes.begin(), bytes.end()));
  } catch (const nlohmann::json::exception& error) {
    throw DataCorruption(fmt::format("state of selector {}: {}", selector, error.what()));
  }
}

}  // namespace alluvium::selectors
