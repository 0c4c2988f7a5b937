// What a reader's manifest says of choosing and confidence, with defaults for one that says nothing.
//
// Threads: pure functions. A null reader is the bare decoder.
#pragma once

#include "alluvium/service/configuration.h"
#include "alluvium/service/readers.h"
#include "document_choice.h"

namespace alluvium::service {

/// Null for the bare decoder.
const backbone::Adapter* adapter_of(const LoadedReader* reader);

/// The configured weights where they are set, else the reader's own.
ChoiceWeights choice_weights(const ChoiceConfiguration& configured, const LoadedReader* reader);

/// P(the answer is right), from the mean log-probability of its tokens and the log-odds against a refusal: the reader's logistic fit, else
/// the tokens' geometric mean probability.
double confidence_of(const LoadedReader* reader, double mean_log_probability, double evidence);

}  // namespace alluvium::service
