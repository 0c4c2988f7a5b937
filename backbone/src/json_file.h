// JSON files of model directories.
//
// Threads: thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"

namespace alluvium::backbone {

/// Parses `text`. `file` names the source in the DataCorruption thrown when it is not JSON, or not
/// an object at the top.
nlohmann::json parse_json_object(std::string_view text, const std::string& file);

/// Reads and parses a file. Throws InvalidArgument when it cannot be read.
nlohmann::json read_json_object(const std::string& path);

/// Runs `read`, which takes values out of parsed JSON, and turns a missing member or a wrong type
/// into DataCorruption naming `file`.
template <class Read>
auto reading_json(const std::string& file, Read read) {
  try {
    return read();
  } catch (const nlohmann::json::exception& error) {
    throw DataCorruption(fmt::format("'{}' is damaged: {}", file, error.what()));
  }
}

/// The member `key` of `object`, or `fallback` when it is absent or null.
template <class Type>
Type member_or(const nlohmann::json& object, const char* key, Type fallback) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? std::move(fallback) : found->get<Type>();
}

}  // namespace alluvium::backbone
