// The family of errors that cross Alluvium's API boundaries, and the two checks that raise them.
//
// Purpose: a caller decides what to do by the kind alone (retry, reject, page an operator); the message names field, value and bound.
// Threads: error objects are immutable values.
#pragma once

#include <stdexcept>
#include <string>

#include <fmt/format.h>

namespace alluvium {

/// What an error means to the caller; the service's answer for each is in docs/FORMATS.md ("Error codes").
enum class ErrorKind {
  invalid_argument,    ///< the request is wrong: do not retry
  not_supported,       ///< valid, but not built or not for this backbone
  unavailable,         ///< not now: starting, stopping, deadline passed
  resource_exhausted,  ///< memory, disk or capacity: retry with less, or later
  numeric_error,       ///< NaN, Inf or divergence; the update was not applied
  data_corruption,     ///< stored bytes fail their check
  internal_error,      ///< our own mistake
};

/// Snake-case name of a kind, as logs and messages print it.
const char* to_string(ErrorKind kind);

/// Base of all errors Alluvium throws. `what()` is the message for people; `file()` and `line()` say where it was raised.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message, const char* file, int line);

  ErrorKind kind() const { return kind_; }
  const char* file() const { return file_; }
  int line() const { return line_; }

 private:
  ErrorKind kind_;
  const char* file_;
  int line_;
};

/// One type for each kind, so that a catch clause can name what it handles.
template <ErrorKind Kind>
class ErrorOf : public Error {
 public:
  explicit ErrorOf(const std::string& message, const char* file = __builtin_FILE(),
                   int line = __builtin_LINE())
      : Error(Kind, message, file, line) {}
};

using InvalidArgument = ErrorOf<ErrorKind::invalid_argument>;
using NotSupported = ErrorOf<ErrorKind::not_supported>;
using Unavailable = ErrorOf<ErrorKind::unavailable>;
using ResourceExhausted = ErrorOf<ErrorKind::resource_exhausted>;
using NumericError = ErrorOf<ErrorKind::numeric_error>;
using DataCorruption = ErrorOf<ErrorKind::data_corruption>;
using InternalError = ErrorOf<ErrorKind::internal_error>;

}  // namespace alluvium

/// Refuses bad input: ALLUVIUM_CHECK(k > 0, "k must be positive, got {}", k) throws InvalidArgument.
#define ALLUVIUM_CHECK(condition, ...)                               \
  do {                                                               \
    if (!(condition)) {                                              \
      throw ::alluvium::InvalidArgument(::fmt::format(__VA_ARGS__)); \
    }                                                                \
  } while (false)

/// Guards what only our own mistake can break; throws InternalError with the condition's text.
#define ALLUVIUM_ASSERT(condition)                                      \
  do {                                                                  \
    if (!(condition)) {                                                 \
      throw ::alluvium::InternalError("assertion failed: " #condition); \
    }                                                                   \
  } while (false)
