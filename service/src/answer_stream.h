// The answer's text as it goes out, without the white space around it.
//
// Threads: owned by the answering thread.
#pragma once

#include <string>
#include <string_view>

#include "alluvium/backbone/generation.h"

namespace alluvium::service {

/// `text` without ASCII white space at either end.
std::string trim(std::string_view text);

/// Hands pieces on, so that together they are trim() of the whole.
class AnswerStream {
 public:
  /// `on_text` may be null.
  explicit AnswerStream(const backbone::TextCallback& on_text) : on_text_(on_text) {}

  /// False when the listener cancels.
  bool push(std::string_view piece);

 private:
  const backbone::TextCallback& on_text_;
  bool begun_ = false;
  std::string held_;  // white space that goes out only when text follows it
};

}  // namespace alluvium::service
