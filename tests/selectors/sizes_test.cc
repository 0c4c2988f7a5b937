// Compressed sizes: the published vectors, and equal ways to compute one size.
#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <zlib.h>

#include "alluvium/core/error.h"
#include "alluvium/core/sha256.h"
#include "pair_sizer.h"
#include "reference_vectors.h"
#include "support/catch.h"
#include "texts.h"
#include "zip_fit_selector.h"

namespace alluvium::tests {
namespace {

using selectors::DeflateSizer;
using selectors::make_lz4_pool_sizer;
using selectors::make_lz4_sizer;
using selectors::make_zlib_sizer;
using selectors::make_zstd_sizer;
using selectors::PairSizer;
using selectors::Texts;

Texts texts(std::vector<std::string> list) {
  return std::make_shared<const std::vector<std::string>>(std::move(list));
}

Bytef* bytes_of(const std::string& text) {
  return reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
}

// Window bits of zlib's three wrappings.
constexpr int kRaw = -15;
constexpr int kZlib = 15;
constexpr int kGzip = 15 + 16;

// The slow, obvious way: one string, a new stream, memory level 8. Nothing when the stream takes no dictionary.
std::optional<std::string> deflated(const std::string& text, int level, int window_bits,
                                    const std::string& dictionary = "") {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, level, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::optional<std::string> output;
  if (dictionary.empty() || deflateSetDictionary(&stream, bytes_of(dictionary),
                                                 static_cast<uInt>(dictionary.size())) == Z_OK) {
    output.emplace(deflateBound(&stream, text.size()) + 64, '\0');
    stream.next_in = bytes_of(text);
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = bytes_of(*output);
    stream.avail_out = static_cast<uInt>(output->size());
    REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    output->resize(stream.total_out);
  }
  deflateEnd(&stream);
  return output;
}

int64_t gzip_size(const std::string& text, int level) {
  return std::ssize(*deflated(text, level, kRaw)) + selectors::kGzipWrapper;
}

// 1 - NCD from sizes.
double alignment(int64_t joint, int64_t source, int64_t target) {
  return 1 - static_cast<double>(joint - std::min(source, target)) /
                 static_cast<double>(std::max(source, target));
}

double stored_alignment(const std::string& x, const std::string& y) {
  return alignment(gzip_size(x + y, 0), gzip_size(x, 0), gzip_size(y, 0));
}

std::string as_hex(const std::string& bytes) {
  std::string hex;
  for (const char byte : bytes) {
    hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  }
  return hex;
}

int64_t joint(PairSizer& sizer, const std::string& source, std::size_t targets, std::size_t which) {
  std::vector<int64_t> sizes(targets);
  sizer.joint_sizes(source, sizes);
  return sizes[which];
}

struct Pair {
  std::string x;
  std::string y;
  int64_t sizes[3];  // levels 1, 6, 9
};

}  // namespace

TEST_CASE("sizes: this zlib is the reference", "[selectors][zip_fit][oracle]") {
  CHECK(selectors::zlib_is_reference());
}

TEST_CASE("sizes: gzip of single texts and of pairs as published", "[selectors][zip_fit][oracle]") {
  const std::vector<std::pair<std::string, int64_t>> singles = {
      {"", 20},  {"text", 24}, {kA, 62},  {kB, 62},  {kCc, 59},
      {kP1, 78}, {kP2, 86},    {kP3, 81}, {kN1, 82}, {kN2, 84}};
  const std::vector<Pair> pairs = {
      {"", "", {20, 20, 20}},      {"text", "text", {26, 26, 26}}, {kA, kA, {66, 65, 65}},
      {kA, kB, {69, 68, 68}},      {kB, kA, {69, 68, 68}},         {kA, kCc, {86, 86, 86}},
      {kCc, kA, {87, 87, 87}},     {kP1, kP2, {102, 102, 102}},    {kP2, kP1, {101, 101, 101}},
      {kP1, kP3, {118, 118, 118}}, {kN1, kP1, {126, 126, 126}},    {kP1, kN1, {126, 126, 126}},
      {kN1, kN2, {123, 123, 123}}, {kN2, kN1, {124, 123, 123}}};
  const int64_t levels[3] = {1, 6, 9};
  for (int i = 0; i < 3; ++i) {
    CAPTURE(levels[i]);
    const auto alone = make_zlib_sizer(nullptr, levels[i]);
    for (const auto& [text, size] : singles) {
      CAPTURE(text);
      CHECK(alone->size(text) == size);
    }
    for (const Pair& pair : pairs) {
      CAPTURE(pair.x, pair.y);
      const auto sizer = make_zlib_sizer(texts({pair.y}), levels[i]);
      CHECK(joint(*sizer, pair.x, 1, 0) == pair.sizes[i]);
      if (pair.x.empty() && pair.y.empty()) {
        // The selector refuses what is empty; by its sizes it would be its own likeness.
        CHECK(alignment(joint(*sizer, "", 1, 0), sizer->size(""), sizer->size("")) == 1.0);
      }
    }
  }
}

TEST_CASE("sizes: gzip level 0 stores, so that it aligns and ranks by length alone",
          "[selectors][zip_fit][oracle]") {
  using Catch::WithinAbs;
  const std::vector<std::string> all = {"", "text", kA, kB, kCc, kP1, kP2, kP3, kN1, kN2};
  for (const std::string& x : all) {
    CAPTURE(x);
    CHECK(gzip_size(x, 0) == std::ssize(x) + 23);
    for (const std::string& y : all) {
      CAPTURE(y);
      const auto longer = static_cast<double>(std::max(x.size(), y.size()));
      CHECK_THAT(stored_alignment(x, y), WithinAbs(23 / (longer + 23), 1e-15));
    }
  }
  CHECK_THAT(stored_alignment(kA, kA), WithinAbs(0.348485, 1e-6));
  CHECK_THAT(stored_alignment(kA, kCc), WithinAbs(0.348485, 1e-6));
  CHECK_THAT(stored_alignment(kP1, kP2), WithinAbs(0.232323, 1e-6));
  CHECK_THAT(stored_alignment(kN1, kP1), WithinAbs(0.247312, 1e-6));

  const std::vector<std::pair<std::string, double>> ranking = {
      {kN2, 0.243557}, {kA, 0.243557}, {kN1, 0.242213}, {kP3, 0.237113}, {kP2, 0.232323}};
  std::vector<double> scores;
  for (const auto& [text, wanted] : ranking) {
    CAPTURE(text);
    scores.push_back((stored_alignment(text, kP1) + stored_alignment(text, kP3)) / 2);
    CHECK_THAT(scores.back(), WithinAbs(wanted, 1e-6));
  }
  CHECK(scores[0] == scores[1]);
  CHECK(std::is_sorted(scores.rbegin(), scores.rend()));
}

TEST_CASE("sizes: the gzip file of a text is 18 bytes and its raw stream",
          "[selectors][zip_fit][oracle]") {
  // 10 bytes before it (no time, 04 for a fast level, 03 for Unix), checksum and length behind.
  const std::string stored = *deflated("text", 0, kGzip);
  CHECK(as_hex(*deflated("text", 1, kGzip)) == "1f8b08000000000004032b49ad280100c7a78b3b04000000");
  CHECK(as_hex(stored) == "1f8b0800000000000403010400fbff74657874c7a78b3b04000000");
  for (const std::string& text : {std::string("text"), kA, kP2, generated(70'000, 4, "abcdef")}) {
    for (const int level : {0, 1, 6, 9}) {
      CAPTURE(text.size(), level);
      const std::string file = *deflated(text, level, kGzip);
      CHECK(file.substr(10, file.size() - 18) == *deflated(text, level, kRaw));
      if (level > 0) {
        CHECK(make_zlib_sizer(nullptr, level)->size(text) == std::ssize(file));
      }
    }
  }
}

TEST_CASE("sizes: long generated input, and the 32 KiB window", "[selectors][zip_fit][oracle]") {
  struct Long {
    std::size_t bytes;
    const char* digest;
    int64_t once[3];
    int64_t twice[3];
  };
  const Long vectors[] = {
      {1000, "a7f1195b5dd58139", {1023, 1023, 1023}, {1089, 1089, 1089}},
      {20000, "aed9f54d97186faf", {20028, 20028, 20028}, {20287, 20283, 20283}},
      {40000, "516c635e8e265f60", {40033, 40033, 40033}, {80043, 80043, 80043}}};
  const int64_t levels[3] = {1, 6, 9};
  for (const Long& vector : vectors) {
    const std::string text = generated(vector.bytes, 12345, all_bytes());
    CHECK(to_hex(sha256(text)).substr(0, 16) == vector.digest);
    for (int i = 0; i < 3; ++i) {
      CAPTURE(vector.bytes, levels[i]);
      const auto sizer = make_zlib_sizer(texts({text}), levels[i]);
      CHECK(sizer->size(text) == vector.once[i]);
      CHECK(joint(*sizer, text, 1, 0) == vector.twice[i]);
    }
  }
  const std::string within = distinct_numbers(3600);
  const std::string beyond = distinct_numbers(3700);
  const auto sizer = make_zlib_sizer(texts({within, beyond}), 6);
  CHECK(sizer->size(within) == 16813);
  CHECK(joint(*sizer, within, 2, 0) == 17229);
  CHECK(sizer->size(beyond) == 17268);
  CHECK(joint(*sizer, beyond, 2, 1) == 33516);
}

TEST_CASE("sizes: of texts that share no symbol the joint is more than both",
          "[selectors][zip_fit][oracle]") {
  struct Unlike {
    std::size_t symbols;
    int64_t digits;
    int64_t letters;
    int64_t joint;
  };
  for (const Unlike& vector : {Unlike{1000, 517, 644, 1291}, Unlike{200, 126, 157, 296}}) {
    CAPTURE(vector.symbols);
    const std::string digits = generated(vector.symbols, 1, "0123456789");
    const std::string letters = generated(vector.symbols, 2, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    const auto sizer = make_zlib_sizer(texts({letters}), 6);
    CHECK(sizer->size(digits) == vector.digits);
    CHECK(sizer->size(letters) == vector.letters);
    CHECK(joint(*sizer, digits, 1, 0) == vector.joint);
  }
}

TEST_CASE("sizes: raw deflate with a dictionary", "[selectors][zip_fit][oracle]") {
  const auto given = [](const std::string& source, const std::string& dictionary) {
    std::vector<int64_t> sizes(1);
    make_zlib_sizer(texts({dictionary}), 6)->conditional_sizes(source, sizes);
    return sizes[0];
  };
  CHECK(given(kA, kB) == 8);
  CHECK(given(kA, kCc) == 40);
  CHECK(given(kP2, kP1) == 26);
  CHECK(given(kP3, kP1) == 43);
  CHECK(given(kN1, kP1) == 64);
  CHECK(given(kN2, kN1) == 60);
  // One target is its own pool.
  CHECK(make_zlib_sizer(texts({kP1}), 6)->pooled_size(kP2) == 26);
  // In zlib's wrapping: header 2, checksum of the dictionary 4, of the text 4.
  CHECK(std::ssize(*deflated(kP2, 6, kZlib, kP1)) == 36);
  CHECK(std::ssize(*deflated(kP2, 6, kZlib, kP1)) == given(kP2, kP1) + 10);
  CHECK(std::ssize(*deflated(kP2, 6, kZlib)) == 74);
  // Which is why sizes with a dictionary are those of raw streams: gzip's wrapping takes none.
  CHECK_FALSE(deflated(kP2, 6, kGzip, kP1));
}

TEST_CASE("sizes: an LZ4 pool explains what it holds, whatever was sized before",
          "[selectors][zip_fit][property]") {
  const auto pool = texts({kP1, kN1, generated(3000, 1, "abcdefghijklmnopqrstuvwxyz ")});
  const std::string inside = generated(3000, 1, "abcdefghijklmnopqrstuvwxyz ").substr(500, 2000);
  const std::string outside = generated(2000, 9, "0123456789");
  const std::vector<std::string> sized = {
      inside, outside, kP2, kP1, outside + inside, generated(100'000, 3, "abcdef")};
  const auto sizer = make_lz4_pool_sizer(pool);
  CHECK(sizer->pooled_size(inside) < sizer->raw_size(inside) / 50);
  CHECK(100 * sizer->pooled_size(outside) > 99 * sizer->raw_size(outside));
  CHECK(sizer->pooled_size(kP2) < sizer->raw_size(kP2));
  for (const std::string& text : sized) {
    const auto fresh = make_lz4_pool_sizer(pool);
    CHECK(sizer->pooled_size(text) == fresh->pooled_size(text));
    CHECK(sizer->raw_size(text) == fresh->raw_size(text));
  }
}

TEST_CASE("sizes: LZ4 frames", "[selectors][zip_fit][oracle]") {
  const auto alone = make_lz4_sizer(nullptr);
  const std::vector<std::pair<std::string, int64_t>> singles = {
      {"", 11},  {"text", 27}, {kA, 66},  {kB, 66},  {kCc, 62},
      {kP1, 89}, {kP2, 96},    {kP3, 93}, {kN1, 93}, {kN2, 91}};
  for (const auto& [text, size] : singles) {
    CAPTURE(text);
    CHECK(alone->size(text) == size);
  }
  const std::vector<Pair> pairs = {{kA, kA, {79}},    {kA, kB, {79}},    {kA, kCc, {105}},
                                   {kP1, kP2, {118}}, {kP1, kP3, {134}}, {kN1, kP1, {158}},
                                   {kN1, kN2, {159}}};
  for (const Pair& pair : pairs) {
    CAPTURE(pair.x, pair.y);
    CHECK(joint(*make_lz4_sizer(texts({pair.y})), pair.x, 1, 0) == pair.sizes[0]);
  }
}

TEST_CASE("sizes: an LZ4 state that is used again gives what a new one gives",
          "[selectors][zip_fit][property]") {
  Random random(3);
  const auto used = make_lz4_sizer(nullptr);
  for (int i = 0; i < 300; ++i) {
    const std::string text = babble(random, random.below(150'000), 2 + random.below(3000));
    CAPTURE(i, text.size());
    CHECK(used->size(text) == make_lz4_sizer(nullptr)->size(text));
  }
}

TEST_CASE("sizes: zstd frames", "[selectors][zip_fit][oracle]") {
  const auto sizer = make_zstd_sizer(texts({kP2, kP1}), 3);
  CHECK(sizer->size(kP1) == 78);
  CHECK(sizer->size(kP2) == 74);
  CHECK(sizer->size(kN1) == 67);
  CHECK(joint(*sizer, kP1, 2, 0) == 90);
  CHECK(joint(*sizer, kN1, 2, 1) == 115);
}

TEST_CASE(
    "sizes: reset streams, two-part input and copied streams equal one string compressed anew",
    "[selectors][zip_fit][property]") {
  constexpr std::size_t kPairs = 10;
  int pairs = 0;
  int over_32_kb = 0;
  int over_64_kb = 0;
  int mismatches = 0;
  for (int64_t level = 1; level <= 9; ++level) {
    Random random(static_cast<uint64_t>(level));
    for (int round = 0; round < 24; ++round) {
      const std::size_t longest = round % 6 == 0 ? 90'000 : round % 2 == 0 ? 12'000 : 1'500;
      const std::string source = babble(random, random.below(longest), 2 + random.below(2000));
      std::vector<std::string> list;
      for (std::size_t j = 0; j < kPairs; ++j) {
        list.push_back(babble(random, 1 + random.below(longest / 2), 2 + random.below(2000)));
      }
      std::array<int64_t, kPairs> in_two_parts{};
      std::array<int64_t, kPairs> copied{};
      std::array<int64_t, kPairs> as_shipped{};
      const auto sizer = make_zlib_sizer(texts(list), level);
      make_zlib_sizer(texts(list), level, std::string::npos)->joint_sizes(source, in_two_parts);
      make_zlib_sizer(texts(list), level, 0)->joint_sizes(source, copied);
      sizer->joint_sizes(source, as_shipped);
      for (std::size_t j = 0; j < kPairs; ++j) {
        const std::string whole = source + list[j];
        const int64_t wanted = gzip_size(whole, static_cast<int>(level));
        for (const int64_t size : {sizer->size(whole), in_two_parts[j], copied[j], as_shipped[j]}) {
          mismatches += size == wanted ? 0 : 1;
        }
        ++pairs;
        over_32_kb += whole.size() > 32'768 ? 1 : 0;
        over_64_kb += whole.size() > 65'536 ? 1 : 0;
      }
    }
  }
  CAPTURE(pairs, over_32_kb, over_64_kb);
  CHECK(mismatches == 0);
  CHECK(pairs >= 2000);
  CHECK(over_32_kb >= 100);
  CHECK(over_64_kb >= 50);
}

// Adds a byte to one of the sizes it is asked for.
class OneWrongSize final : public PairSizer {
 public:
  OneWrongSize(int64_t level, int& asked, int wrong)
      : sizer_(make_zlib_sizer(nullptr, level)), asked_(asked), wrong_(wrong) {}

  int64_t size(std::string_view text) override {
    return sizer_->size(text) + (asked_++ == wrong_ ? 1 : 0);
  }
  void joint_sizes(std::string_view source, std::span<int64_t> sizes) override {
    sizer_->joint_sizes(source, sizes);
  }

 private:
  std::unique_ptr<PairSizer> sizer_;
  int& asked_;
  const int wrong_;
};

TEST_CASE("sizes: one wrong size at any level is no reference, and scores say so",
          "[selectors][zip_fit]") {
  const auto judged = [](int wrong, int& asked) {
    return selectors::gives_reference_sizes(
        [&](int64_t level) { return std::make_unique<OneWrongSize>(level, asked, wrong); });
  };
  int probes = 0;
  REQUIRE(judged(-1, probes));
  CHECK(probes >= 3 * 6);
  for (int wrong = 0; wrong < probes; ++wrong) {
    int asked = 0;
    CAPTURE(wrong);
    CHECK_FALSE(judged(wrong, asked));
    CHECK(asked == wrong + 1);
  }

  int asked = 0;
  selectors::SelectorOptions options = whole_texts("ref");
  CHECK(selectors::zip_fit_label(options, judged(3, asked)) ==
        "zip_fit/ref gzip-6 (non-reference zlib)");
  CHECK(make_selector("zip_fit", options)->label() == "zip_fit/ref gzip-6");
  options.compressor = "lz4";
  CHECK(selectors::zip_fit_label(options, false) == "zip_fit/ref lz4");
}

TEST_CASE("sizes: gzip level 0 is refused", "[selectors][zip_fit]") {
  CHECK_THROWS_WITH(make_selector("zip_fit",
                                  [] {
                                    selectors::SelectorOptions options;
                                    options.level = 0;
                                    return options;
                                  }()),
                    Catch::Contains("level of gzip must be in [1, 9], got 0"));
}

}  // namespace alluvium::tests
