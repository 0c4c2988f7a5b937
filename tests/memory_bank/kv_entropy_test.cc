// Coded sections: the symbol coder, and records in which layers are coded.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include <ATen/ops/full.h>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/memory_bank/kv_record.h"
#include "bank_fixtures.h"
#include "kv/entropy.h"
#include "kv/rans.h"
#include "record_damage.h"
#include "record_directory.h"
#include "stored_memory.h"
#include "support/catch.h"

namespace alluvium::tests {
namespace {

using memory_bank::CodecOptions;
using memory_bank::decode_rans;
using memory_bank::decode_record;
using memory_bank::encode_rans;
using memory_bank::encode_record;
using memory_bank::EntropyCoder;
using memory_bank::KeptRows;
using memory_bank::Memory;
using memory_bank::StoredKv;

using Bytes = std::vector<std::byte>;
using Symbols = std::vector<uint8_t>;

// Places within an entry of a record's directory.
constexpr std::size_t kBeginAt = 0;
constexpr std::size_t kBytesAt = 8;
constexpr std::size_t kCoderAt = 18;
constexpr std::size_t kPlainBytesAt = 20;

Bytes bytes_of(std::initializer_list<int> numbers) {
  Bytes bytes;
  for (const int number : numbers) {
    bytes.push_back(static_cast<std::byte>(number));
  }
  return bytes;
}

Symbols decoded(std::span<const std::byte> coded, int64_t bits, std::size_t n) {
  Symbols symbols(n);
  decode_rans(coded, bits, symbols);
  return symbols;
}

/// Symbols below 2^bits around their middle, as the codes of a normal variable are.
Symbols random_codes(Random& random, int64_t bits, std::size_t n, double width) {
  const auto highest = static_cast<double>((1 << bits) - 1);
  Symbols symbols;
  for (std::size_t i = 0; i < n; ++i) {
    const double code = (0.5 + width * random.normal()) * highest;
    symbols.push_back(static_cast<uint8_t>(std::lround(std::clamp(code, 0.0, highest))));
  }
  return symbols;
}

double entropy_bytes(const Symbols& symbols) {
  std::vector<double> counts(256, 0);
  for (const uint8_t symbol : symbols) {
    ++counts[symbol];
  }
  double bits = 0;
  for (const double count : counts) {
    bits += count > 0 ? count * std::log2(static_cast<double>(symbols.size()) / count) : 0;
  }
  return bits / 8;
}

CodecOptions coded_with(const std::string& entropy, int64_t key_bits = 4, int64_t value_bits = 3) {
  CodecOptions options;
  options.key_bits = key_bits;
  options.value_bits = value_bits;
  options.entropy = entropy;
  return options;
}

Memory memory_of(const CodecOptions& options, int64_t tokens, bool ragged,
                 at::ScalarType type = at::kFloat) {
  Random random(static_cast<uint64_t>(tokens));
  const KeptRows kept = ragged ? random_choice(random, tokens) : KeptRows{};
  return stored_memory(memory_bank::resolve_settings(options), tokens, kept, type, random);
}

template <class T>
T number_at(const Bytes& record, std::size_t at) {
  T number;
  std::memcpy(&number, record.data() + at, sizeof(number));
  return number;
}

}  // namespace

TEST_CASE("rans: by hand", "[memory_bank][kv][entropy]") {
  // One symbol has all 4,096 shares and takes no bits: its table, and twice the state 0x10000.
  const Symbols same(100, 1);
  const Bytes nothing = bytes_of({0xF0, 0, 0, 0, 1, 0, 0, 0, 1, 0});
  CHECK((encode_rans(same, 2) == nothing));
  CHECK(decoded(nothing, 2, 100) == same);
  // Two symbols of 2,048 shares, from 0 and from 2,048 on, take one bit each. Each state is coded a 3,
  // which is decoded last, and then a 0: 0x10000 = 32 x 2,048 becomes 32 x 4,096 + 2,048 = 0x20800 =
  // 65 x 2,048, and that 65 x 4,096 = 0x41000.
  const Bytes two = bytes_of({0x0F, 0xF0, 0, 0x10, 4, 0, 0, 0x10, 4, 0});
  CHECK((encode_rans(Symbols{0, 0, 3, 3}, 2) == two));
  CHECK(decoded(two, 2, 4) == Symbols{0, 0, 3, 3});
}

TEST_CASE("rans: decoding gives the symbols back, in few more bytes than their entropy",
          "[memory_bank][kv][entropy][property]") {
  const int64_t bits = GENERATE(2, 3, 4, 8);
  const std::size_t n = GENERATE(1U, 2U, 3U, 64U, 1001U, 20000U);
  const double width = GENERATE(0.0, 0.02, 0.2, 5.0);
  CAPTURE(bits, n, width);
  Random random(n);
  const Symbols symbols = random_codes(random, bits, n, width);
  const Bytes coded = encode_rans(symbols, bits);
  CHECK(decoded(coded, bits, n) == symbols);
  const double table = bits == 8 ? 130 : std::exp2(bits) / 2;
  CHECK(static_cast<double>(coded.size()) <= 1.05 * entropy_bytes(symbols) + table + 10);
}

TEST_CASE("rans: bytes that are none of its own are refused or give other symbols",
          "[memory_bank][kv][entropy][property]") {
  const int64_t bits = GENERATE(2, 4, 8);
  CAPTURE(bits);
  Random random(7);
  const Symbols symbols = random_codes(random, bits, 500, 0.2);
  const Bytes coded = encode_rans(symbols, bits);
  for (std::size_t size = 0; size < coded.size(); ++size) {
    CAPTURE(size);
    REQUIRE_THROWS_AS(decoded(std::span(coded).first(size), bits, 500), DataCorruption);
  }
  Bytes longer = coded;
  longer.resize(longer.size() + 2);
  CHECK_THROWS_AS(decoded(longer, bits, 500), DataCorruption);
  CHECK_THROWS_AS(decoded(coded, bits, 499), DataCorruption);
  CHECK_THROWS_AS(decoded(coded, bits, 501), DataCorruption);
  CHECK_THROWS_AS(decoded(Bytes(100), bits, 500), DataCorruption);  // an empty table
  int refused = 0;
  for (int round = 0; round < 2000; ++round) {
    Bytes damaged = coded;
    damaged[random.below(damaged.size())] = static_cast<std::byte>(random.below(256));
    try {
      const Symbols other = decoded(damaged, bits, 500);
      const auto highest = *std::max_element(other.begin(), other.end());
      REQUIRE(highest < 1 << bits);
    } catch (const DataCorruption&) {
      ++refused;
    }
  }
  CHECK(refused > 1800);  // the states end where they began by chance alone
}

TEST_CASE("entropy: a coded memory is the plain one bit for bit, in fewer bytes",
          "[memory_bank][kv][entropy][property]") {
  const std::string entropy = GENERATE("zstd", "rans");
  struct Form {
    int64_t keys;
    int64_t values;
  };
  const Form form = GENERATE(Form{2, 4}, Form{3, 3}, Form{4, 8}, Form{16, 16}, Form{32, 32});
  const bool ragged = GENERATE(false, true);
  const int64_t tokens = GENERATE(1, 33, 300);
  const auto type = GENERATE(at::kFloat, at::kBFloat16);
  CodecOptions options = coded_with(entropy, form.keys, form.values);
  options.scale_bits = GENERATE(8, 16);
  options.key_group = 5;
  CAPTURE(entropy, form.keys, form.values, ragged, tokens, at::toString(type), options.scale_bits);
  const Memory coded = memory_of(options, tokens, ragged, type);
  options.entropy = "none";
  const Memory plain = memory_of(options, tokens, ragged, type);
  CHECK(same_memory(coded, plain));
  const Bytes record = encode_record(coded);
  CHECK(same_memory(decode_record(record), plain));
  CHECK(record.size() <= encode_record(plain).size());

  const int64_t heads = plain.stored->kv_heads;
  for (std::size_t l = 0; l < coded.stored->layers.size(); ++l) {
    const StoredKv::Layer& from = coded.stored->layers[l];
    const StoredKv::Layer& to = plain.stored->layers[l];
    CHECK(from.plain_bytes == to.section.size());
    if (from.coder == EntropyCoder::none) {
      CHECK((from.section == to.section));
      continue;
    }
    CHECK(from.coder == memory_bank::parse_entropy(entropy));
    CHECK(from.section.size() < to.section.size());
    const memory_bank::SectionShape shape{.tokens = tokens,
                                          .kv_heads = heads,
                                          .head_dim = kHeadWidth,
                                          .key_group = plain.stored->key_group,
                                          .scale_bits = plain.stored->scale_bits,
                                          .type = type,
                                          .everything = !ragged,
                                          .key_bits = to.key_bits,
                                          .value_bits = to.value_bits};
    CHECK((plain_section(from.coder, shape, from.section, from.plain_bytes) == to.section));
  }
}

TEST_CASE("entropy: records are of version 4 where a layer is coded, and only there",
          "[memory_bank][kv][entropy][record]") {
  const std::string entropy = GENERATE("zstd", "rans");
  CAPTURE(entropy);
  const auto coder = static_cast<int>(memory_bank::parse_entropy(entropy));
  const Bytes coded = encode_record(memory_of(coded_with(entropy, 3, 3), 300, true));
  CHECK(coded[4] == std::byte{4});
  const std::vector<int> coders = layer_coders(coded);
  CHECK(std::count(coders.begin(), coders.end(), coder) > 0);
  // One row of 16 bits has nothing to save.
  const Bytes small = encode_record(memory_of(coded_with(entropy, 16, 16), 1, false));
  CHECK(small[4] == std::byte{2});
  CHECK((small == encode_record(memory_of(coded_with("none", 16, 16), 1, false))));
}

TEST_CASE("entropy: what would shrink out of proportion stays as it is",
          "[memory_bank][kv][entropy]") {
  const std::string entropy = GENERATE("zstd", "rans");
  CAPTURE(entropy);
  const at::Tensor flat = at::full({1, 1, 2000, 64}, 0.5, at::TensorOptions().dtype(at::kFloat));
  const StoredKv stored = store_kv(flat, flat, {}, at::kFloat,
                                   memory_bank::resolve_settings(coded_with(entropy, 32, 32)));
  CHECK(stored.layers.at(0).coder == EntropyCoder::none);
  CHECK(stored.layers.at(0).section.size() == std::size_t{2} * 2000 * 64 * 4);
}

TEST_CASE("entropy: a changed byte or a missing end of a coded record is found",
          "[memory_bank][kv][entropy][record][property]") {
  const std::string entropy = GENERATE("zstd", "rans");
  const bool ragged = GENERATE(false, true);
  CAPTURE(entropy, ragged);
  const Bytes record = encode_record(memory_of(coded_with(entropy, 3, 3), 120, ragged));
  REQUIRE(record[4] == std::byte{4});
  require_damage_is_found(record);
}

TEST_CASE("entropy: a directory that says something else of a coded section is refused",
          "[memory_bank][kv][entropy][record]") {
  const std::string entropy = GENERATE("zstd", "rans");
  const bool ragged = GENERATE(false, true);
  CAPTURE(entropy, ragged);
  const Bytes record = encode_record(memory_of(coded_with(entropy, 3, 3), 300, ragged));
  const std::vector<int> coders = layer_coders(record);
  const auto found =
      std::find_if(coders.begin(), coders.end(), [](int coder) { return coder > 0; });
  REQUIRE(found != coders.end());
  const std::size_t entry =
      directory_at(record) + static_cast<std::size_t>(found - coders.begin()) * kEntryBytes;
  const auto plain_bytes = number_at<uint32_t>(record, entry + kPlainBytesAt);
  for (const uint32_t other : {0U, 1U, plain_bytes - 1, plain_bytes + 1, 0x7fffffffU, UINT32_MAX}) {
    CAPTURE(other);
    CHECK_THROWS_AS(decode_record(forge(record, entry + kPlainBytesAt, other)), DataCorruption);
  }
  for (const int other : {0, 3 - *found, 3, 255}) {
    CAPTURE(other);
    CHECK_THROWS_AS(decode_record(forge(record, entry + kCoderAt, static_cast<uint8_t>(other))),
                    DataCorruption);
  }
}

TEST_CASE("entropy: any bytes under right CRCs give a memory or DataCorruption",
          "[memory_bank][kv][entropy][record][property]") {
  const std::string entropy = GENERATE("zstd", "rans");
  const bool ragged = GENERATE(false, true);
  CAPTURE(entropy, ragged);
  const Bytes record = encode_record(memory_of(coded_with(entropy, 3, 3), 150, ragged));
  REQUIRE(record[4] == std::byte{4});
  const std::size_t entry = directory_at(record);
  const auto begin = number_at<uint64_t>(record, entry + kBeginAt);
  REQUIRE(number_at<uint64_t>(record, entry + kBytesAt) > 100);
  Random random(6);
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    // Half of the changes hit the first layer's bit maps, sizes and tables.
    const std::size_t at =
        round % 2 == 0
            ? begin + random.below(100)
            : directory_at(record) + random.below(record.size() - directory_at(record) - 1);
    const Bytes forged = forge(record, at, static_cast<uint16_t>(random.next()));
    CAPTURE(at);
    try {
      const Memory memory = decode_record(forged);
      REQUIRE(memory.keys.sizes() == memory.values.sizes());
    } catch (const DataCorruption&) {
      ++refused;
    }
  }
  CHECK(refused > 500);
}

}  // namespace alluvium::tests
