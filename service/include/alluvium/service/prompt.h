// The prompt's pieces as tokens: shared prefix, documents, question.
//
// Purpose: one place that knows how the configured templates become tokens, so that ingest and
// question agree id for id. Differs: each piece is tokenised alone and the ids are joined; a joined
// string could merge across a border. Threads: thread-safe functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "alluvium/backbone/tokenizer.h"
#include "alluvium/core/document.h"
#include "alluvium/memory_bank/memory.h"
#include "alluvium/service/configuration.h"

namespace alluvium::service {

/// `format` with every `placeholder` replaced by `value`; placeholders inside the value stay as
/// they are.
std::string fill_template(std::string_view format, std::string_view placeholder,
                          std::string_view value);

/// The shared prefix, special tokens recognised. Throws InvalidArgument when it has no token.
std::vector<backbone::TokenId> prefix_tokens(const TemplateConfiguration& prompt,
                                             const backbone::Tokenizer& tokenizer);

/// A question by the question template, special tokens spelled out.
std::vector<backbone::TokenId> question_tokens(const TemplateConfiguration& prompt,
                                               const backbone::Tokenizer& tokenizer,
                                               std::string_view question);

/// A document cut by the template for titled or untitled documents.
std::vector<memory_bank::Chunk> document_chunks(const TemplateConfiguration& prompt,
                                                const backbone::Tokenizer& tokenizer,
                                                const Document& document);

/// Tokens that end a turn or a text in the supported families, as far as this vocabulary has them.
std::vector<backbone::TokenId> end_tokens(const backbone::Tokenizer& tokenizer);

}  // namespace alluvium::service
