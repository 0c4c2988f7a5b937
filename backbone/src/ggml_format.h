// The tensor formats of GGML by their number in a GGUF file.
//
// Source : enum ggml_type of ggml.h in https://github.com/ggml-org/ggml (numbers and names only).
// Threads: thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "alluvium/backbone/checkpoint.h"

namespace alluvium::backbone {

/// The name of a GGML format, e.g. "Q6_K"; "format 99" for a number GGML does not define.
std::string ggml_format_name(uint32_t number);

/// The format we read under this number. Throws NotSupported naming the tensor and the format when
/// we do not.
StorageFormat storage_format_of_ggml(uint32_t number, const std::string& tensor);

}  // namespace alluvium::backbone
