#include "alluvium/memory_bank/kv_record.h"

#include <ATen/ops/empty.h>

#include "alluvium/core/error.h"
#include "bank_fixtures.h"
#include "record_damage.h"
#include "record_directory.h"
#include "support/catch.h"

namespace alluvium::tests {
namespace {

using memory_bank::decode_record;
using memory_bank::encode_record;
using memory_bank::Memory;

// Places of the layout in docs/FORMATS.md, "Memory record".
constexpr std::size_t kVersionAt = 4;
constexpr std::size_t kTokensAt = 72;

std::vector<backbone::TokenId> count_up(std::size_t n) {
  std::vector<backbone::TokenId> tokens;
  for (std::size_t i = 0; i < n; ++i) {
    tokens.push_back(static_cast<backbone::TokenId>(7 * i));
  }
  return tokens;
}

}  // namespace

TEST_CASE("record: packing and unpacking keeps every bit", "[memory_bank][record][property]") {
  const auto type = GENERATE(at::kFloat, at::kHalf, at::kBFloat16);
  const std::size_t tokens = GENERATE(1U, 2U, 5U, 64U, 200U);
  CAPTURE(at::toString(type), tokens);
  const Memory memory = make_memory(count_up(tokens), tokens, type);
  const auto record = encode_record(memory);
  CHECK(record.size() % 64 == 0);
  CHECK(same_memory(decode_record(record), memory));
}

TEST_CASE("record: sections of any size stand on 64-byte borders", "[memory_bank][record]") {
  Memory memory = make_memory(count_up(3), 1);
  memory.keys = at::empty({3, 1, 3, 5}, at::TensorOptions().dtype(at::kHalf)).fill_(1.5);
  memory.values = at::empty({3, 1, 3, 5}, at::TensorOptions().dtype(at::kHalf)).fill_(-2);
  const auto record = encode_record(memory);
  // 128 header, 6 token bytes, directory of 3 * 24 at 192, 3 sections of 60 bytes from 320.
  CHECK(record.size() == 320 + 3 * 64);
  CHECK(same_memory(decode_record(record), memory));
}

TEST_CASE("record: a changed byte anywhere is found", "[memory_bank][record][property]") {
  const auto record = encode_record(make_memory(count_up(5), 3));
  SECTION("every byte of a small record, and every cut") { require_damage_is_found(record); }
  SECTION("a thousand single bits of a large one") {
    const auto large = encode_record(make_memory(count_up(300), 4));
    Random random(12);
    for (int round = 0; round < 1000; ++round) {
      const auto at = static_cast<std::size_t>(random.below(large.size()));
      CAPTURE(at);
      auto damaged = large;
      damaged[at] ^= static_cast<std::byte>(1U << random.below(8));
      CHECK_THROWS_AS(decode_record(damaged), DataCorruption);
    }
  }
}

TEST_CASE("record: a lengthened record is found", "[memory_bank][record]") {
  auto record = encode_record(make_memory(count_up(5), 3));
  record.push_back(std::byte{0});
  CHECK_THROWS_AS(decode_record(record), DataCorruption);
}

TEST_CASE("record: absurd counts under a right CRC are refused without taking memory",
          "[memory_bank][record]") {
  const auto record = encode_record(make_memory(count_up(5), 3));
  for (std::size_t field = 0; field < 4; ++field) {
    for (const uint32_t value : {0U, 1U, 6U, 0x10000U, 0x7fffffffU, 0xffffffffU}) {
      CAPTURE(field, value);
      CHECK_THROWS_AS(decode_record(forge(record, kTokensAt + 4 * field, value)), DataCorruption);
    }
  }
}

TEST_CASE("record: another version is not read", "[memory_bank][record]") {
  const auto record = encode_record(make_memory(count_up(5), 3));
  CHECK_THROWS_AS(decode_record(forge(record, kVersionAt, uint16_t{1})), NotSupported);
  CHECK_THROWS_AS(decode_record(forge(record, kVersionAt, uint16_t{7})), NotSupported);
  CHECK_THROWS_AS(decode_record(forge(record, kVersionAt + 2, uint16_t{2})), NotSupported);
  CHECK_THROWS_AS(decode_record(forge(record, kVersionAt + 2, uint16_t{8})), NotSupported);
}

TEST_CASE("record: a memory without fitting tensors is not packed", "[memory_bank][record]") {
  Memory memory = make_memory(count_up(5), 3);
  SECTION("no tensors") { memory.keys = at::Tensor(); }
  SECTION("another count of tokens") { memory.tokens.pop_back(); }
  SECTION("values of another dtype") { memory.values = memory.values.to(at::kHalf); }
  SECTION("doubles") {
    memory.keys = memory.keys.to(at::kDouble);
    memory.values = memory.values.to(at::kDouble);
  }
  CHECK_THROWS_AS(encode_record(memory), InvalidArgument);
}

}  // namespace alluvium::tests
