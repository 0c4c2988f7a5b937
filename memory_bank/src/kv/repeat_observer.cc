// The repeat pass: what a decoder looks at when it must say the chunk again is what any question may
// need.
//
// Source : KVzip (Kim et al., NeurIPS 2025): the chunk is read a second time after an instruction to
//          repeat it, and a row's score is the highest attention weight that any query of that
//          reading and of the head's group gives it. The same reading twice as Just Read Twice
//          (Arora et al., 2024).
// Differs: a long chunk is repeated in pieces of 512 tokens, each over the whole chunk, so that a
//          row may be found by any piece; a piece after the first begins with the eight tokens
//          before it.
#include <algorithm>

#include <ATen/ops/maximum.h>

#include "kv/observer.h"

namespace alluvium::memory_bank {
namespace {

constexpr const char* kInstruction = "Repeat the passage above exactly:\n";
constexpr int64_t kPiece = 512;
constexpr int64_t kLeadIn = 8;
/// Fewer positions than this behind a chunk are too few to repeat it.
constexpr int64_t kShortestPiece = 32;

class RepeatObserver final : public Observer {
 public:
  explicit RepeatObserver(const ObserverContext& context)
      : decoder_(context.decoder),
        instruction_(context.tokenizer.encode(kInstruction, backbone::SpecialTokens::plain_text)),
        prefix_length_(static_cast<int64_t>(context.prefix.tokens.size())) {}

  int64_t room(int64_t chunk_tokens) const override {
    const int64_t piece = piece_tokens(chunk_tokens);
    return piece == 0 ? 0 : lead() + piece;
  }

  std::vector<RowScores> score(std::span<const ObservedChunk> chunks) const override {
    std::vector<RowScores> scores(chunks.size());
    for (int64_t round = 0; read_round(chunks, round, scores); ++round) {
    }
    for (RowScores& one : scores) {
      if (one.scores.defined()) {
        one.scores = one.scores.cpu();
      }
    }
    return scores;
  }

 private:
  int64_t lead() const { return static_cast<int64_t>(instruction_.size()) + kLeadIn; }

  /// Tokens repeated at once; 0 when there is no place for them.
  int64_t piece_tokens(int64_t chunk_tokens) const {
    const int64_t left = decoder_.geometry().max_positions - prefix_length_ - chunk_tokens - lead();
    const int64_t piece = std::min({chunk_tokens, kPiece, left});
    return piece < std::min(chunk_tokens, kShortestPiece) ? 0 : piece;
  }

  /// Repeats piece `round` of every chunk that has one, all in one batch; false when none has.
  bool read_round(std::span<const ObservedChunk> chunks, int64_t round,
                  std::vector<RowScores>& scores) const {
    std::vector<std::vector<backbone::TokenId>> texts;
    std::vector<backbone::ReadRequest> requests;
    std::vector<std::size_t> owners;
    texts.reserve(chunks.size());  // requests point into it
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      const auto n = static_cast<int64_t>(chunks[i].tokens.size());
      const int64_t piece = piece_tokens(n);
      const int64_t begin = round * piece;
      if (piece == 0 || begin >= n) {
        continue;
      }
      const int64_t from = std::max<int64_t>(begin - kLeadIn, 0);
      const int64_t end = std::min(begin + piece, n);
      std::vector<backbone::TokenId>& text = texts.emplace_back(instruction_);
      text.insert(text.end(), chunks[i].tokens.begin() + from, chunks[i].tokens.begin() + end);
      backbone::ReadRequest& request = requests.emplace_back();
      request.cache = chunks[i].cache;
      request.tokens = text;
      request.observed_begin = prefix_length_;
      request.observed_end = prefix_length_ + n;
      owners.push_back(i);
    }
    if (requests.empty()) {
      return false;
    }
    const std::vector<backbone::ReadResult> results = decoder_.read(requests);
    for (std::size_t i = 0; i < owners.size(); ++i) {
      const auto end = prefix_length_ + static_cast<int64_t>(chunks[owners[i]].tokens.size());
      chunks[owners[i]].cache->rewind(end, end);
      at::Tensor& score = scores[owners[i]].scores;
      score = score.defined() ? at::maximum(score, results[i].attention_maximum)
                              : results[i].attention_maximum;
    }
    return true;
  }

  const backbone::Decoder& decoder_;
  const std::vector<backbone::TokenId> instruction_;
  const int64_t prefix_length_;
};

}  // namespace

std::unique_ptr<Observer> make_repeat_observer(const ObserverContext& context) {
  return std::make_unique<RepeatObserver>(context);
}

}  // namespace alluvium::memory_bank
