// Residuals of quantisation as thin factors: by hand, their law, and records that hold them.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <ATen/ops/dist.h>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/memory_bank/kv_record.h"
#include "bank_fixtures.h"
#include "kv/residual.h"
#include "record_damage.h"
#include "record_directory.h"
#include "stored_memory.h"
#include "support/catch.h"

namespace alluvium::tests {
namespace {

using Catch::Matchers::WithinAbs;
using memory_bank::add_residual;
using memory_bank::CodecOptions;
using memory_bank::decode_record;
using memory_bank::encode_record;
using memory_bank::factorise;
using memory_bank::KeptRows;
using memory_bank::Memory;
using memory_bank::residual_bytes;
using memory_bank::write_residual;

using Bytes = std::vector<std::byte>;
using Floats = std::vector<float>;

Floats random_floats(Random& random, int64_t count) {
  Floats numbers;
  for (int64_t i = 0; i < count; ++i) {
    numbers.push_back(static_cast<float>(random.normal()));
  }
  return numbers;
}

double distance(const Floats& a, const Floats& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
  }
  return std::sqrt(sum);
}

/// `decoded` with what brings it nearer to `exact`.
Floats corrected(const Floats& exact, const Floats& decoded, int64_t rows, int64_t channels,
                 int64_t rank) {
  Bytes bytes(residual_bytes(rows, channels, rank));
  write_residual(exact.data(), decoded.data(), rows, channels, rank, bytes.data());
  Floats nearer = decoded;
  add_residual(bytes.data(), rows, channels, rank, nearer.data());
  return nearer;
}

CodecOptions of_rank(int64_t rank, int64_t bits = 2) {
  CodecOptions options;
  options.key_bits = options.value_bits = bits;
  options.boundary_bits = bits <= 8 ? bits : 0;
  options.residual_rank = rank;
  return options;
}

Memory memory_of(const CodecOptions& options, bool ragged, at::ScalarType type = at::kFloat) {
  constexpr int64_t kTokens = 40;
  Random random(17);
  const KeptRows kept = ragged ? random_choice(random, kTokens) : KeptRows{};
  return stored_memory(memory_bank::resolve_settings(options), kTokens, kept, type, random);
}

}  // namespace

// E P = (3, 6, 9.5) / |(1, 1)|, whose direction is the left factor; the right one is its product with
// the columns (1, 2, 3) and (2, 4, 6.5).
TEST_CASE("residual: one round of power iteration by hand", "[memory_bank][kv][residual]") {
  const std::vector<double> matrix = {1, 2, 2, 4, 3, 6.5};
  const auto factors = factorise(matrix, 3, 2, {1, 1}, 1);
  const std::vector<double> left = {0.257960, 0.515920, 0.816874};
  const std::vector<double> right = {3.740422, 7.889281};
  REQUIRE(factors.left.size() == 3);
  REQUIRE(factors.right.size() == 2);
  double error = 0;
  for (std::size_t r = 0; r < 3; ++r) {
    CHECK_THAT(factors.left[r], WithinAbs(left[r], 1e-6));
    for (std::size_t c = 0; c < 2; ++c) {
      CHECK_THAT(factors.right[c], WithinAbs(right[c], 1e-6));
      error += std::pow(matrix[2 * r + c] - factors.left[r] * factors.right[c], 2);
    }
  }
  CHECK_THAT(std::sqrt(error), WithinAbs(0.135957, 1e-6));
}

TEST_CASE("residual: factors never lead away from the exact numbers, more of them lead nearer",
          "[memory_bank][kv][residual][property]") {
  const auto seed = GENERATE(range(0U, 10U));
  const int64_t rows = GENERATE(1, 3, 40, 90);
  const int64_t channels = GENERATE(1, 7, 64);
  CAPTURE(seed, rows, channels);
  Random random(seed);
  const Floats exact = random_floats(random, rows * channels);
  Floats decoded = exact;
  for (float& number : decoded) {
    number += static_cast<float>(0.1 * random.normal());
  }
  const double without = distance(exact, decoded);
  double last = without;
  for (const int64_t rank : {1, 2, 4, 16, 64, 256}) {
    CAPTURE(rank);
    const double with = distance(exact, corrected(exact, decoded, rows, channels, rank));
    CHECK(with <= without);
    CHECK(with <= 1.01 * last + 1e-3 * without);
    if (rank >= std::min(rows, channels)) {
      CHECK(with <= 2e-3 * without);  // all of it, but for float16 and its sums
    }
    last = with;
  }
}

TEST_CASE("residual: where float16 factors would not help they are 0",
          "[memory_bank][kv][residual]") {
  const int64_t rank = GENERATE(1, 3);
  CAPTURE(rank);
  Bytes bytes(residual_bytes(3, 2, rank), std::byte{1});
  const auto all_zero = [&] {
    return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
  };
  const Floats exact = {1, 2, 2, 4, 3, 6.5F};
  SECTION("nothing is missing") {
    write_residual(exact.data(), exact.data(), 3, 2, rank, bytes.data());
    CHECK(all_zero());
  }
  SECTION("less than the least float16 is missing") {
    Floats decoded(6, 0);
    const Floats nearly(6, 1e-12F);
    write_residual(nearly.data(), decoded.data(), 3, 2, rank, bytes.data());
    CHECK(all_zero());
  }
  SECTION("more than the largest float16 is missing") {
    const Floats far(6, 60000);
    const Floats near(6, -60000);
    write_residual(far.data(), near.data(), 3, 2, rank, bytes.data());
    CHECK(all_zero());
  }
}

TEST_CASE("residual: factors of a rank take 2 bytes a row and channel, up to the whole rank",
          "[memory_bank][kv][residual]") {
  CHECK(residual_bytes(100, 64, 4) == std::size_t{2} * 4 * (100 + 64));
  CHECK(residual_bytes(3, 64, 4) == std::size_t{2} * 3 * (3 + 64));
  CHECK(residual_bytes(100, 2, 4) == std::size_t{2} * 2 * (100 + 2));
  CHECK(residual_bytes(100, 64, 0) == 0);
}

TEST_CASE("residual: records with factors give nearer memories, bit for bit",
          "[memory_bank][kv][residual][record]") {
  const int64_t rank = GENERATE(1, 3, 7, 200);
  const bool ragged = GENERATE(false, true);
  const std::string entropy = GENERATE("none", "zstd", "rans");
  const auto type = GENERATE(at::kFloat, at::kBFloat16);
  CAPTURE(rank, ragged, entropy, at::toString(type));
  CodecOptions options = of_rank(rank);
  options.entropy = entropy;
  const Memory memory = memory_of(options, ragged, type);
  const auto record = encode_record(memory);
  CHECK(record[4] == std::byte{4});
  CHECK(same_memory(decode_record(record), memory));

  const Memory plain = memory_of(of_rank(0), ragged, type);
  CHECK(encode_record(plain)[4] == std::byte{2});
  CHECK_FALSE(same_bits(memory.keys, plain.keys));
  const Memory exact = memory_of(of_rank(0, 32), ragged, at::kFloat);
  const auto error = [&](const at::Tensor& of, const at::Tensor& from) {
    return at::dist(of.to(at::kFloat), from).item<double>();
  };
  CHECK(error(memory.keys, exact.keys) < error(plain.keys, exact.keys));
  CHECK(error(memory.values, exact.values) < error(plain.values, exact.values));
  if (rank >= kHeadWidth && type == at::kFloat) {
    CHECK(error(memory.keys, exact.keys) < 2e-3 * error(plain.keys, exact.keys));
  }
}

TEST_CASE("residual: numbers that are not quantised have none", "[memory_bank][kv][residual]") {
  CodecOptions options = of_rank(4);
  options.key_bits = options.value_bits = 16;
  options.boundary_bits = 0;
  CHECK(memory_bank::resolve_settings(options).residual_rank == 0);
  CHECK(memory_bank::settings_word(of_rank(4)) == "custom");
  options.key_bits = options.value_bits = 0;
  CHECK(memory_bank::settings_word(options) == "lossless");
}

TEST_CASE("residual: a changed byte or a missing end of a record with factors is found",
          "[memory_bank][kv][residual][record][property]") {
  const bool ragged = GENERATE(false, true);
  CAPTURE(ragged);
  const auto record = encode_record(memory_of(of_rank(3), ragged));
  require_damage_is_found(record);
}

TEST_CASE("residual: another rank than the sections hold is refused",
          "[memory_bank][kv][residual][record]") {
  constexpr std::size_t kRankAt = 104;
  const bool ragged = GENERATE(false, true);
  CAPTURE(ragged);
  const auto record = encode_record(memory_of(of_rank(3), ragged));
  for (const int rank : {0, 1, 2, 4, 7, 256, 65535}) {
    CAPTURE(rank);
    CHECK_THROWS_AS(decode_record(forge(record, kRankAt, static_cast<uint16_t>(rank))),
                    DataCorruption);
  }
}

}  // namespace alluvium::tests
