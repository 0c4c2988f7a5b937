// The typed values of a GGUF file's description.
//
// Source : https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, "gguf_metadata_value_type".
// Threads: thread-safe.
#pragma once

#include "alluvium/backbone/checkpoint.h"
#include "byte_reader.h"

namespace alluvium::backbone {

/// Reads a value's type number and the value. Integers and booleans of arrays become int64, floats
/// become double. Throws DataCorruption on a type number outside GGUF's, a boolean that is neither
/// 0 nor 1, an integer above int64, or an array that cannot fit into the file; NotSupported on an
/// array of arrays.
MetadataValue read_gguf_value(ByteReader& reader, const std::string& key);

}  // namespace alluvium::backbone
