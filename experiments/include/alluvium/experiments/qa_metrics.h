// Exact match and F1 of short answers.
//
// Source : Rajpurkar et al., "SQuAD", EMNLP 2016, and its evaluation script's normalisation.
// Threads: thread-safe functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace alluvium::experiments {

/// Lower-case, ASCII punctuation deleted, the words a, an, the deleted, white space collapsed to
/// single spaces.
std::string normalise_answer(std::string_view text);

/// 1 when the normalised prediction equals a normalised answer, else 0. Without answers
/// (unanswerable) an empty prediction is right.
double exact_match(std::string_view prediction, const std::vector<std::string>& answers);

/// F1 of the normalised words as multisets, the best over the answers. Both empty count 1, one
/// empty 0.
double token_f1(std::string_view prediction, const std::vector<std::string>& answers);

}  // namespace alluvium::experiments
