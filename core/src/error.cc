#include "alluvium/core/error.h"

namespace alluvium {

const char* to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::invalid_argument:
      return "invalid_argument";
    case ErrorKind::not_supported:
      return "not_supported";
    case ErrorKind::unavailable:
      return "unavailable";
    case ErrorKind::resource_exhausted:
      return "resource_exhausted";
    case ErrorKind::numeric_error:
      return "numeric_error";
    case ErrorKind::data_corruption:
      return "data_corruption";
    case ErrorKind::internal_error:
      return "internal_error";
  }
  return "unknown";
}

Error::Error(ErrorKind kind, const std::string& message, const char* file, int line)
    : std::runtime_error(message), kind_(kind), file_(file), line_(line) {}

}  // namespace alluvium
