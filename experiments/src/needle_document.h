// One long document with facts hidden in it, evenly, each to be asked for.
//
// Source : "needle in a haystack" (Kamradt, 2023).
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "alluvium/backbone/tokenizer.h"
#include "alluvium/core/document.h"

namespace alluvium::experiments {

struct Needle {
  std::string question;
  std::string answer;
};

struct NeedleDocument {
  Document document;
  std::vector<Needle> needles;  ///< in the order they stand in
};

/// Joins `texts` in order until `tokens` tokens are reached and puts `needles` sentences of about
/// twenty tokens between the texts' sentences, the first in the first part of as many equal ones.
/// Throws InvalidArgument when the texts do not suffice.
NeedleDocument make_needle_document(const std::vector<Document>& texts,
                                    const backbone::Tokenizer& tokenizer, int64_t tokens,
                                    int64_t needles);

}  // namespace alluvium::experiments
