#include "bank_fixtures.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <ATen/ops/empty.h>

namespace alluvium::tests {
namespace {

bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }

}  // namespace

std::vector<backbone::TokenId> PairTokenizer::encode(std::string_view text,
                                                     backbone::SpecialTokens) const {
  std::vector<backbone::TokenId> ids;
  for (std::size_t i = 0; i < text.size(); ++i) {
    backbone::TokenId id = static_cast<unsigned char>(text[i]);
    if (i + 1 < text.size() && is_letter(text[i]) && is_letter(text[i + 1])) {
      id = 256 * id + static_cast<unsigned char>(text[++i]);
    }
    ids.push_back(id);
  }
  return ids;
}

std::string PairTokenizer::decode(std::span<const backbone::TokenId> ids) const {
  std::string text;
  for (const backbone::TokenId id : ids) {
    if (id >= 256) {
      text += static_cast<char>(id / 256);
    }
    text += static_cast<char>(id % 256);
  }
  return text;
}

std::optional<backbone::TokenId> PairTokenizer::find_token(std::string_view piece) const {
  const auto ids = encode(piece);
  return ids.size() == 1 ? std::optional(ids.front()) : std::nullopt;
}

at::Tensor TableEncoder::embed(std::span<const std::string> texts) const {
  at::Tensor rows = at::empty({static_cast<int64_t>(texts.size()), dimension_},
                              at::TensorOptions().dtype(at::kFloat));
  auto* row = rows.mutable_data_ptr<float>();
  for (const std::string& text : texts) {
    std::fill(row, row + dimension_, 0.0F);
    const auto found = vectors_.find(text);
    if (found != vectors_.end()) {
      std::copy(found->second.begin(), found->second.end(), row);
    } else {
      row[0] = 1;
    }
    row += dimension_;
  }
  return rows;
}

const Digest& bank_fingerprint() {
  static const Digest fingerprint = sha256("a model");
  return fingerprint;
}

memory_bank::Memory make_memory(std::vector<backbone::TokenId> tokens, uint64_t seed,
                                at::ScalarType type) {
  Random random(seed);
  memory_bank::Memory memory;
  memory.fingerprint = bank_fingerprint();
  memory.document_sha = memory_bank::hash_tokens(tokens);
  memory.tokens = std::move(tokens);
  for (at::Tensor* tensor : {&memory.keys, &memory.values}) {
    *tensor = at::empty({2, 2, memory.length(), 4}, at::TensorOptions().dtype(type));
    auto* bytes = static_cast<uint8_t*>(tensor->mutable_data_ptr());
    for (std::size_t i = 0; i < tensor->nbytes(); ++i) {
      bytes[i] = static_cast<uint8_t>(random.next());
    }
  }
  return memory;
}

Document make_document(const std::string& id, uint64_t version, const std::string& text,
                       const std::string& name_space) {
  Document document;
  document.name_space = name_space;
  document.id = id;
  document.version = version;
  document.title = "Title of " + id;
  document.text = text;
  return document;
}

memory_bank::Deposit make_deposit(const Document& document, int64_t offset) {
  memory_bank::Deposit deposit;
  deposit.offset = offset;
  deposit.document = document;
  memory_bank::Chunk chunk{0, document.text.size(), PairTokenizer().encode(document.text)};
  deposit.memories.push_back(make_memory(chunk.tokens, document.text.size() + document.version));
  deposit.chunks.push_back(std::move(chunk));
  deposit.keys = {1, 0, 0, 0};
  deposit.key_dimension = 4;
  deposit.encoder_fingerprint = TableEncoder(4).fingerprint();
  return deposit;
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() && a.is_contiguous() &&
         b.is_contiguous() && std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
}

bool same_memory(const memory_bank::Memory& a, const memory_bank::Memory& b) {
  return a.fingerprint == b.fingerprint && a.document_sha == b.document_sha &&
         a.tokens == b.tokens && same_bits(a.keys, b.keys) && same_bits(a.values, b.values) &&
         a.kept.counts == b.kept.counts &&
         (a.kept.everything() || same_bits(a.kept.positions, b.kept.positions)) &&
         a.compensation.counts == b.compensation.counts &&
         (a.compensation.counts.empty() ||
          (same_bits(a.compensation.keys, b.compensation.keys) &&
           same_bits(a.compensation.values, b.compensation.values)));
}

std::vector<float> random_keys(Random& random, int64_t count, int64_t dimension) {
  constexpr int64_t kCentres = 16;
  std::vector<float> keys;
  for (int64_t key = 0; key < count; ++key) {
    Random centre(1000 + random.below(kCentres));
    std::vector<double> vector;
    double square = 0;
    for (int64_t i = 0; i < dimension; ++i) {
      vector.push_back(centre.normal() + random.normal());
      square += vector.back() * vector.back();
    }
    for (const double value : vector) {
      keys.push_back(static_cast<float>(value / std::sqrt(square)));
    }
  }
  return keys;
}

bool holds_bytes(const std::string& directory, const std::string& bytes) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) {
      continue;
    }
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string content{std::istreambuf_iterator<char>(file), {}};
    if (content.find(bytes) != std::string::npos) {
      return true;
    }
  }
  return false;
}

}  // namespace alluvium::tests
