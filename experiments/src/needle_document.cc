#include "needle_document.h"

#include <array>

#include <fmt/format.h>

#include "alluvium/core/error.h"

namespace alluvium::experiments {
namespace {

constexpr std::array kFirst = {"Amber", "Birch", "Cedar", "Dune",  "Ember",
                               "Fjord", "Grove", "Heron", "Islet", "Juniper"};
constexpr std::array kSecond = {"station", "tower",  "harbour", "bridge", "mill",
                                "quarry",  "chapel", "market",  "canal",  "lodge"};

Needle needle(int64_t i) {
  // 7,919 is prime, so that no two of the first 9,000 are alike.
  const std::string code = fmt::format("{}", 1000 + (i + 1) * 7919 % 9000);
  return {fmt::format("What is the access code of {} {}?", kFirst[static_cast<std::size_t>(i) % 10],
                      kSecond[static_cast<std::size_t>(i) / 10 % 10]),
          code};
}

std::string sentence(int64_t i, const Needle& needle) {
  return fmt::format(" The access code of {} {} is {}.", kFirst[static_cast<std::size_t>(i) % 10],
                     kSecond[static_cast<std::size_t>(i) / 10 % 10], needle.answer);
}

int64_t count(const backbone::Tokenizer& tokenizer, const std::string& text) {
  return std::ssize(tokenizer.encode(text, backbone::SpecialTokens::plain_text));
}

}  // namespace

NeedleDocument make_needle_document(const std::vector<Document>& texts,
                                    const backbone::Tokenizer& tokenizer, int64_t tokens,
                                    int64_t needles) {
  ALLUVIUM_CHECK(tokens > 0 && needles > 0 && needles <= 100,
                 "a document of {} tokens with {} needles cannot be made", tokens, needles);
  std::string text;
  int64_t reached = 0;
  for (std::size_t i = 0; reached < tokens; ++i) {
    ALLUVIUM_CHECK(i < texts.size(), "the texts have {} tokens in all, {} are wanted", reached,
                   tokens);
    text += texts[i].text + "\n\n";
    reached += count(tokenizer, texts[i].text) + 1;
  }
  text.resize(static_cast<std::size_t>(static_cast<double>(text.size()) *
                                       static_cast<double>(tokens) / static_cast<double>(reached)));
  text.resize(text.rfind(". ") == std::string::npos ? 0 : text.rfind(". ") + 1);
  NeedleDocument made;
  for (int64_t i = 0; i < needles; ++i) {
    made.needles.push_back(needle(i));
  }
  // From the last on, so that places before stay what they were.
  for (int64_t i = needles - 1; i >= 0; --i) {
    const auto wanted =
        static_cast<std::size_t>(static_cast<double>(text.size()) * (static_cast<double>(i) + 0.5) /
                                 static_cast<double>(needles));
    const std::size_t stop = text.rfind(". ", wanted);
    text.insert(stop == std::string::npos ? 0 : stop + 1,
                sentence(i, made.needles[static_cast<std::size_t>(i)]));
  }
  made.document.name_space = "default";
  made.document.id = "long";
  made.document.version = 1;
  made.document.title = "Collected reports";
  made.document.text = std::move(text);
  return made;
}

}  // namespace alluvium::experiments
