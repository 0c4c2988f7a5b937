#include "alluvium/service/prompt.h"

#include "alluvium/core/error.h"
#include "alluvium/memory_bank/sentences.h"

namespace alluvium::service {

std::string fill_template(std::string_view format, std::string_view placeholder,
                          std::string_view value) {
  std::string filled;
  std::size_t from = 0;
  for (std::size_t at = format.find(placeholder); at != std::string_view::npos;
       at = format.find(placeholder, from)) {
    filled.append(format.substr(from, at - from));
    filled.append(value);
    from = at + placeholder.size();
  }
  filled.append(format.substr(from));
  return filled;
}

std::vector<backbone::TokenId> prefix_tokens(const TemplateConfiguration& prompt,
                                             const backbone::Tokenizer& tokenizer) {
  std::vector<backbone::TokenId> tokens =
      tokenizer.encode(prompt.prefix, backbone::SpecialTokens::recognise);
  ALLUVIUM_CHECK(!tokens.empty(),
                 "prompt.prefix must hold at least one token: it is what attention rests on");
  return tokens;
}

std::vector<backbone::TokenId> question_tokens(const TemplateConfiguration& prompt,
                                               const backbone::Tokenizer& tokenizer,
                                               std::string_view question) {
  return tokenizer.encode(fill_template(prompt.question, "{question}", question));
}

std::vector<memory_bank::Chunk> document_chunks(const TemplateConfiguration& prompt,
                                                const backbone::Tokenizer& tokenizer,
                                                const Document& document) {
  const memory_bank::ChunkOptions options{
      .max_tokens = prompt.max_chunk_tokens,
      .format = document.title.empty() ? prompt.untitled_document : prompt.document};
  return memory_bank::chunk_document(document.title, document.text, tokenizer, options);
}

std::vector<backbone::TokenId> end_tokens(const backbone::Tokenizer& tokenizer) {
  std::vector<backbone::TokenId> tokens;
  for (const char* piece :
       {"<|endoftext|>", "<|im_end|>", "<|end_of_text|>", "<|eot_id|>", "</s>"}) {
    if (const auto id = tokenizer.find_token(piece)) {
      tokens.push_back(*id);
    }
  }
  return tokens;
}

}  // namespace alluvium::service
