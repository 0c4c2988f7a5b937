// A selector's state as CBOR (RFC 8949): numbers keep every bit.
//
// Threads: pure functions.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "alluvium/selectors/row_matrix.h"
#include "alluvium/selectors/selector.h"

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

// Each *_from_json throws what unpack_state() turns into DataCorruption, or DataCorruption itself.

/// Bytes of float32, as this machine has them.
nlohmann::json numbers_to_json(const std::vector<float>& numbers);
std::vector<float> numbers_from_json(const nlohmann::json& bytes);

nlohmann::json rows_to_json(const RowMatrix& rows);
RowMatrix rows_from_json(const nlohmann::json& saved);

/// Scores by a row's place in its pool.
nlohmann::json outcomes_to_json(const std::map<int64_t, Score>& outcomes);
std::map<int64_t, Score> outcomes_from_json(const nlohmann::json& saved);

}  // namespace alluvium::selectors
