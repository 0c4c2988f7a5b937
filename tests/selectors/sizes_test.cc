// Compressed sizes: the published vectors, and equal ways to compute one size.
#include <algorithm>
#include <string>
#include <vector>

#include <zlib.h>

#include "alluvium/core/error.h"
#include "alluvium/core/sha256.h"
#include "pair_sizer.h"
#include "reference_vectors.h"
#include "support/catch.h"
#include "texts.h"

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

// The slow, obvious way: one string, a new stream, memory level 8.
int64_t gzip_size(const std::string& text, int level) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, level, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::vector<Bytef> output(deflateBound(&stream, text.size()) + 64);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = output.data();
  stream.avail_out = static_cast<uInt>(output.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  const auto bytes = static_cast<int64_t>(stream.total_out) + selectors::kGzipWrapper;
  deflateEnd(&stream);
  return bytes;
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
      {"text", "text", {26, 26, 26}}, {kA, kA, {66, 65, 65}},      {kA, kB, {69, 68, 68}},
      {kB, kA, {69, 68, 68}},         {kA, kCc, {86, 86, 86}},     {kCc, kA, {87, 87, 87}},
      {kP1, kP2, {102, 102, 102}},    {kP2, kP1, {101, 101, 101}}, {kP1, kP3, {118, 118, 118}},
      {kN1, kP1, {126, 126, 126}},    {kP1, kN1, {126, 126, 126}}, {kN1, kN2, {123, 123, 123}},
      {kN2, kN1, {124, 123, 123}}};
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
  const int64_t level = GENERATE(1, 2, 3, 4, 5, 6, 7, 8, 9);
  Random random(static_cast<uint64_t>(level));
  int mismatches = 0;
  for (int round = 0; round < 24; ++round) {
    // Lengths cross 8 KiB (where a copied stream takes over), 32 KiB and 64 KiB.
    const std::size_t longest = round % 6 == 0 ? 90'000 : round % 2 == 0 ? 12'000 : 1'500;
    const std::string source = babble(random, random.below(longest), 2 + random.below(2000));
    std::vector<std::string> list;
    for (int j = 0; j < 10; ++j) {
      list.push_back(babble(random, 1 + random.below(longest / 2), 2 + random.below(2000)));
    }
    std::vector<int64_t> sizes(list.size());
    make_zlib_sizer(texts(list), level)->joint_sizes(source, sizes);
    for (std::size_t j = 0; j < list.size(); ++j) {
      mismatches += sizes[j] == gzip_size(source + list[j], static_cast<int>(level)) ? 0 : 1;
    }
  }
  CHECK(mismatches == 0);
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
