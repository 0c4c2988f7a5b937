// The plain data of a document, as it passes between the rooms.
//
// Purpose: streams make documents, the service logs them, the memory bank keeps them; none of these knows the others.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace alluvium {

/// Limits on a document's fields, in bytes; validate_document() names the one that is passed.
struct DocumentLimits {
  std::size_t text_bytes = std::size_t{16} << 20;  ///< one ZeroMQ frame
  std::size_t title_bytes = 4096;
  std::size_t id_bytes = 512;
  std::size_t namespace_bytes = 128;
  std::size_t metadata_entries = 64;
  std::size_t metadata_bytes = std::size_t{32} << 10;  ///< all keys and values together
};

/// One version of one document. (name_space, id) is its identity; a higher version replaces a lower one.
struct Document {
  std::string name_space = "default";
  std::string id;
  uint64_t version = 1;
  std::string title;
  std::string text;           ///< UTF-8
  int64_t valid_from_us = 0;  ///< from when it holds, microseconds since the epoch, UTC; 0 = always
  std::map<std::string, std::string> metadata;
};

/// Throws InvalidArgument naming the field, its value and the bound: empty id, namespace or text, a field over its limit, a control
/// character in id or namespace, malformed UTF-8 (with the byte offset).
void validate_document(const Document& document, const DocumentLimits& limits = {});

}  // namespace alluvium
