#include "tokenizer_sample.h"

#include <nlohmann/json.hpp>

#include "support/catch.h"
#include "support/checkpoint_writers.h"
#include "support/paths.h"

namespace alluvium::tests {

std::vector<TokenizerSample> read_tokenizer_sample(const std::string& reference) {
  using Ids = std::vector<backbone::TokenId>;
  const std::string path = oracle_directory() + "/tokenizers/sample.json";
  std::vector<TokenizerSample> rows;
  for (const nlohmann::json& row : nlohmann::json::parse(read_file(path))) {
    const Ids plain = row.at(reference + "_plain").get<Ids>();
    rows.push_back(
        {row.at("text").get<std::string>(), plain, row.value(reference + "_recognise", plain)});
  }
  return rows;
}

void require_reference_ids(const backbone::Tokenizer& tokenizer, const std::string& reference) {
  const std::vector<TokenizerSample> rows = read_tokenizer_sample(reference);
  REQUIRE(rows.size() > 200);
  for (const TokenizerSample& row : rows) {
    CAPTURE(row.text);
    REQUIRE(tokenizer.encode(row.text) == row.plain);
    REQUIRE(tokenizer.encode(row.text, backbone::SpecialTokens::recognise) == row.recognise);
  }
}

}  // namespace alluvium::tests
