// Small documents, memories, tokenizers and encoders for the tests of the memory bank.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "alluvium/backbone/encoder.h"
#include "alluvium/backbone/tokenizer.h"
#include "alluvium/core/random.h"
#include "alluvium/memory_bank/store.h"
#include "sqlite_store.h"

namespace alluvium::tests {

/// Two ASCII letters make one token, any other byte one of its own: the tokens of a whole are not the sum of its pieces'.
class PairTokenizer final : public backbone::Tokenizer {
 public:
  std::vector<backbone::TokenId> encode(std::string_view text,
                                        backbone::SpecialTokens special) const override;
  std::string decode(std::span<const backbone::TokenId> ids) const override;
  std::optional<backbone::TokenId> find_token(std::string_view piece) const override;
  int64_t vocabulary_size() const override { return 65536; }
  const Digest& digest() const override { return digest_; }

  std::vector<backbone::TokenId> encode(std::string_view text) const {
    return encode(text, backbone::SpecialTokens::plain_text);
  }

 private:
  const Digest digest_ = sha256("pair tokenizer");
};

/// Gives the vectors it was told, by text; [1, 0, ...] for any other.
class TableEncoder final : public backbone::Encoder {
 public:
  explicit TableEncoder(int64_t dimension) : dimension_(dimension) {}

  void set(const std::string& text, std::vector<float> vector) {
    vectors_[text] = std::move(vector);
  }
  int64_t dimension() const override { return dimension_; }
  const Digest& fingerprint() const override { return fingerprint_; }
  at::Tensor embed(std::span<const std::string> texts) const override;

 private:
  const int64_t dimension_;
  const Digest fingerprint_ = sha256("table encoder");
  std::map<std::string, std::vector<float>> vectors_;
};

/// Fingerprint of the memories that make_deposit() makes.
const Digest& bank_fingerprint();

/// A memory of `tokens` with random keys and values: 2 layers, 2 heads, head_dim 4.
memory_bank::Memory make_memory(std::vector<backbone::TokenId> tokens, uint64_t seed,
                                at::ScalarType type = at::kFloat);

Document make_document(const std::string& id, uint64_t version, const std::string& text,
                       const std::string& name_space = "default");

/// The document as one chunk (its bytes are its tokens), with a memory and one key of dimension 4.
memory_bank::Deposit make_deposit(const Document& document, int64_t offset = 0);

/// Same shape, dtype and bits.
bool same_bits(const at::Tensor& a, const at::Tensor& b);
bool same_memory(const memory_bank::Memory& a, const memory_bank::Memory& b);

/// `count` unit vectors around a few centres, row-major.
std::vector<float> random_keys(Random& random, int64_t count, int64_t dimension);

/// Whether any file below `directory` holds these bytes.
bool holds_bytes(const std::string& directory, const std::string& bytes);

}  // namespace alluvium::tests
