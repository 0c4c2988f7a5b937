#include <algorithm>

#include "alluvium/core/error.h"
#include "alluvium/core/utf8.h"
#include "alluvium/memory_bank/sentences.h"

namespace alluvium::memory_bank {
namespace {

constexpr std::string_view kTitleField = "{title}";
constexpr std::string_view kTextField = "{text}";

// A token of ordinary text has about 4 bytes; a longer piece than this is not tried as one chunk.
constexpr std::size_t kBytesPerToken = 16;

/// The chunk format with its title filled in: what stands before and after the text.
struct Frame {
  std::string before;
  std::string after;

  Frame(const std::string& format, const std::string& title) {
    const std::size_t text_at = format.find(kTextField);
    ALLUVIUM_CHECK(text_at != std::string::npos, "chunk format '{}' lacks {{text}}", format);
    const std::size_t title_at = format.find(kTitleField);
    ALLUVIUM_CHECK(title_at == std::string::npos || title_at < text_at,
                   "chunk format '{}' has {{title}} after {{text}}", format);
    after = format.substr(text_at + kTextField.size());
    if (title_at == std::string::npos) {
      before = format.substr(0, text_at);
    } else if (!title.empty()) {
      const std::size_t title_end = title_at + kTitleField.size();
      before = format.substr(0, title_at) + title + format.substr(title_end, text_at - title_end);
    }
  }

  std::string wrap(std::string_view text) const {
    std::string wrapped = before;
    wrapped += text;
    wrapped += after;
    return wrapped;
  }
};

/// Cuts one document; holds what every step needs.
class Chunker {
 public:
  Chunker(const Frame& frame, std::string_view text, const backbone::Tokenizer& tokenizer,
          int64_t max_tokens)
      : frame_(frame), text_(text), tokenizer_(tokenizer), max_tokens_(max_tokens) {
    frame_tokens_ = count(frame_.wrap(""));
    ALLUVIUM_CHECK(2 * frame_tokens_ <= max_tokens_,
                   "the title fills {} of a chunk's {} tokens; at most half is allowed",
                   frame_tokens_, max_tokens_);
  }

  std::vector<Chunk> cut() {
    const auto sentences = split_sentences(text_);
    std::size_t first = 0;
    while (first < sentences.size()) {
      first = take_sentences(sentences, first);
    }
    return std::move(chunks_);
  }

 private:
  using Ranges = std::vector<std::pair<std::size_t, std::size_t>>;

  /// Makes one chunk of as many sentences as fit, from `first`; returns the first one left.
  std::size_t take_sentences(const Ranges& sentences, std::size_t first) {
    const std::size_t begin = sentences[first].first;
    // Tokens of pieces add up to about the tokens of the whole; the exact count decides below.
    int64_t estimate = frame_tokens_;
    std::size_t last = first;
    while (last < sentences.size()) {
      const auto [from, to] = sentences[last];
      if (to - from > kBytesPerToken * static_cast<std::size_t>(max_tokens_)) {
        break;
      }
      estimate += count(text_.substr(from, to - from));
      if (estimate > max_tokens_ && last > first) {
        break;
      }
      ++last;
    }
    for (; last > first; --last) {
      if (keep(begin, sentences[last - 1].second)) {
        return last;
      }
    }
    cut_long(begin, sentences[first].second);
    return first + 1;
  }

  /// Cuts one sentence that is longer than a chunk.
  void cut_long(std::size_t begin, std::size_t end) {
    while (begin < end) {
      if (keep(begin, end)) {
        return;
      }
      const std::size_t border = find_border(begin, end);
      ALLUVIUM_CHECK(border > begin && keep(begin, border),
                     "no piece of the text at byte {} fits a chunk of {} tokens", begin,
                     max_tokens_);
      begin = text_.find_first_not_of(" \t\r\n", border);
      begin = std::min(begin, end);
    }
  }

  /// The end of the longest piece from `begin` that fits, moved back to white space when some is
  /// near.
  std::size_t find_border(std::size_t begin, std::size_t end) const {
    std::size_t low = begin;
    std::size_t high =
        std::min(end, begin + kBytesPerToken * static_cast<std::size_t>(max_tokens_));
    while (low + 1 < high) {
      const std::size_t middle = low + (high - low) / 2;
      (fits(begin, middle) ? low : high) = middle;
    }
    std::size_t border = begin + complete_utf8_prefix(text_.substr(begin, low - begin));
    const std::size_t space = text_.find_last_of(" \t\r\n", border);
    if (space != std::string_view::npos && space > begin + (border - begin) / 2) {
      border = space;
    }
    // Removing a half character or word can, rarely, add a token.
    while (border > begin && !fits(begin, border)) {
      border = begin + complete_utf8_prefix(text_.substr(begin, border - begin - 1));
    }
    return border;
  }

  bool fits(std::size_t begin, std::size_t end) const {
    return count(frame_.wrap(text_.substr(begin, end - begin))) <= max_tokens_;
  }

  /// Adds the chunk [begin, end) when it fits.
  bool keep(std::size_t begin, std::size_t end) {
    if (end - begin > kBytesPerToken * static_cast<std::size_t>(max_tokens_)) {
      return false;
    }
    Chunk chunk{begin, end, tokenizer_.encode(frame_.wrap(text_.substr(begin, end - begin)))};
    if (static_cast<int64_t>(chunk.tokens.size()) > max_tokens_) {
      return false;
    }
    chunks_.push_back(std::move(chunk));
    return true;
  }

  int64_t count(std::string_view text) const {
    return static_cast<int64_t>(tokenizer_.encode(text).size());
  }

  const Frame& frame_;
  std::string_view text_;
  const backbone::Tokenizer& tokenizer_;
  const int64_t max_tokens_;
  int64_t frame_tokens_ = 0;
  std::vector<Chunk> chunks_;
};

}  // namespace

std::vector<Chunk> chunk_document(const std::string& title, const std::string& text,
                                  const backbone::Tokenizer& tokenizer,
                                  const ChunkOptions& options) {
  ALLUVIUM_CHECK(options.max_tokens >= 32, "a chunk must allow at least 32 tokens, got {}",
                 options.max_tokens);
  const Frame frame(options.format, title);
  return Chunker(frame, text, tokenizer, options.max_tokens).cut();
}

std::vector<std::string> key_texts(const std::string& title, const std::string& text,
                                   int64_t limit) {
  std::string head = title;
  std::replace(head.begin(), head.end(), '_', ' ');
  if (!head.empty()) {
    head += '\n';
  }
  const auto sentences = split_sentences(text);
  if (sentences.empty()) {
    return {head + text};
  }
  const std::size_t kept =
      limit > 0 ? std::min(sentences.size(), static_cast<std::size_t>(limit)) : sentences.size();
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < kept; ++i) {
    const auto [begin, end] = sentences[i * sentences.size() / kept];
    texts.push_back(head + text.substr(begin, end - begin));
  }
  return texts;
}

}  // namespace alluvium::memory_bank
