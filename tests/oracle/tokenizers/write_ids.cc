// Token ids of texts in a file, for compare_tokenizers.py.
//
// Usage : alluvium_write_ids TOKENIZER TEXTS IDS [recognise]
//         TOKENIZER is a GGUF file or a tokenizer.json. TEXTS and IDS are records of a 32-bit
//         little-endian count and that many bytes (texts) or 32-bit ids. "recognise" turns the text
//         of special tokens into them.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "alluvium/backbone/checkpoint.h"
#include "alluvium/backbone/tokenizer.h"
#include "support/checkpoint_writers.h"

namespace {

using alluvium::backbone::SpecialTokens;
using alluvium::backbone::TokenId;
using alluvium::backbone::Tokenizer;

std::unique_ptr<Tokenizer> open_tokenizer(const std::string& path) {
  if (path.ends_with(".json")) {
    return alluvium::backbone::load_tokenizer_json(path);
  }
  return alluvium::backbone::load_tokenizer(*alluvium::backbone::open_checkpoint(path), path);
}

std::vector<std::string_view> read_records(std::string_view bytes) {
  std::vector<std::string_view> records;
  while (bytes.size() >= sizeof(uint32_t)) {
    uint32_t size = 0;
    std::memcpy(&size, bytes.data(), sizeof(size));
    records.push_back(bytes.substr(sizeof(size), size));
    bytes.remove_prefix(sizeof(size) + records.back().size());
  }
  return records;
}

void run(const std::string& path, const std::string& texts, const std::string& output,
         SpecialTokens special) {
  const auto tokenizer = open_tokenizer(path);
  const std::string bytes = alluvium::tests::read_file(texts);
  std::vector<std::vector<TokenId>> results;
  const auto start = std::chrono::steady_clock::now();
  for (const std::string_view text : read_records(bytes)) {
    results.push_back(tokenizer->encode(text, special));
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::string ids;
  for (const std::vector<TokenId>& result : results) {
    ids += alluvium::tests::bytes_of(std::vector{static_cast<uint32_t>(result.size())});
    ids += alluvium::tests::bytes_of(result);
  }
  alluvium::tests::write_file(output, ids);
  fmt::print("{} texts, {:.2f} MB, {:.1f} MB/s\n", results.size(),
             static_cast<double>(bytes.size()) / 1e6,
             static_cast<double>(bytes.size()) / 1e6 / seconds.count());
}

}  // namespace

int main(int count, char** arguments) {
  const bool recognise = count == 5 && std::strcmp(arguments[4], "recognise") == 0;
  if (count != 4 && !recognise) {
    fmt::print(stderr, "usage: alluvium_write_ids TOKENIZER TEXTS IDS [recognise]\n");
    return 2;
  }
  try {
    run(arguments[1], arguments[2], arguments[3],
        recognise ? SpecialTokens::recognise : SpecialTokens::plain_text);
  } catch (const std::exception& error) {
    fmt::print(stderr, "alluvium_write_ids: {}\n", error.what());
    return 1;
  }
  return 0;
}
