#include <cstring>

#include "alluvium/backbone/checkpoint.h"
#include "damage.h"
#include "support/catch.h"
#include "support/checkpoint_writers.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::tests {
namespace {

using backbone::open_checkpoint;
using backbone::open_gguf;
using backbone::StorageFormat;
using Catch::Matchers::Contains;

constexpr uint32_t kText = 8;
constexpr uint32_t kArray = 9;

template <class Number>
std::string raw(Number number) {
  return bytes_of(std::vector<Number>{number});
}

// The header of a GGUF file up to its first entry.
std::string header(uint32_t version, uint64_t tensors, uint64_t entries) {
  return "GGUF" + raw(version) + raw(tensors) + raw(entries);
}

// Writes and opens in one step.
class GgufFixture {
 protected:
  std::string write(std::string_view bytes) {
    std::string path = directory_ / "file.gguf";
    write_file(path, bytes);
    return path;
  }

  std::unique_ptr<backbone::Checkpoint> open(const GgufWriter& writer) {
    return open_gguf(write(writer.bytes()));
  }

  TemporaryDirectory directory_;
};

}  // namespace

TEST_CASE_METHOD(GgufFixture, "gguf: every kind of value is read back", "[backbone][gguf]") {
  const auto file = open(GgufWriter()
                             .add_integer("uint32", 4000000000U)
                             .add_real("float32", 0.25F)
                             .add_boolean("yes", true)
                             .add_text("text", "río")
                             .add_texts("texts", {"a", "", "ĠĠ"})
                             .add_integers("integers", {-1, 0, 7})
                             .add_raw("uint8", 0, raw<uint8_t>(200))
                             .add_raw("int8", 1, raw<int8_t>(-3))
                             .add_raw("uint16", 2, raw<uint16_t>(65000))
                             .add_raw("int16", 3, raw<int16_t>(-300))
                             .add_raw("uint64", 10, raw<uint64_t>(1ULL << 40))
                             .add_raw("int64", 11, raw<int64_t>(-(1LL << 40)))
                             .add_raw("float64", 12, raw(0.1)));
  CHECK(file->integer("uint32") == 4000000000);
  CHECK(file->real("float32") == 0.25);
  CHECK(std::get<bool>(*file->find_metadata("yes")));
  CHECK(file->text("text") == "río");
  CHECK(std::get<std::vector<std::string>>(*file->find_metadata("texts")) ==
        std::vector<std::string>{"a", "", "ĠĠ"});
  CHECK(std::get<std::vector<int64_t>>(*file->find_metadata("integers")) ==
        std::vector<int64_t>{-1, 0, 7});
  CHECK(file->integer("uint8") == 200);
  CHECK(file->integer("int8") == -3);
  CHECK(file->integer("uint16") == 65000);
  CHECK(file->integer("int16") == -300);
  CHECK(file->integer("uint64") == 1LL << 40);
  CHECK(file->integer("int64") == -(1LL << 40));
  CHECK(file->real("float64") == 0.1);
  CHECK(file->kind() == std::string("gguf"));
}

TEST_CASE_METHOD(GgufFixture,
                 "gguf: look-ups fall back, and name what is absent or of another type",
                 "[backbone][gguf]") {
  const auto file = open(GgufWriter().add_text("name", "tiny").add_integer("count", 3));
  CHECK(file->find_metadata("absent") == nullptr);
  CHECK(file->integer("absent", 5) == 5);
  CHECK(file->text("absent", "x") == "x");
  CHECK(file->real("count") == 3.0);
  CHECK_THROWS_WITH(file->integer("absent"), Contains("'absent'"));
  CHECK_THROWS_AS(file->integer("name"), DataCorruption);
  CHECK_THROWS_AS(file->real("name"), DataCorruption);
  CHECK_THROWS_AS(file->text("count", "x"), DataCorruption);
}

TEST_CASE_METHOD(GgufFixture, "gguf: shapes are slowest dimension first and data are found by name",
                 "[backbone][gguf]") {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const auto file = open(GgufWriter()
                             .add_tensor("first", {1}, GgufWriter::kF32, raw(9.0F))
                             .add_tensor("matrix", {2, 3}, GgufWriter::kF32, bytes_of(values)));
  const backbone::StoredTensor& matrix = file->require_tensor("matrix", {2, 3});
  CHECK(matrix.format == StorageFormat::f32);
  REQUIRE(matrix.bytes == 24);
  CHECK(std::memcmp(matrix.data, values.data(), matrix.bytes) == 0);
  CHECK(file->tensors().front().name == "first");
  CHECK(file->find_tensor("second") == nullptr);
  CHECK_THROWS_WITH(file->require_tensor("second", {1}), Contains("'second'"));
  CHECK_THROWS_WITH(file->require_tensor("matrix", {3, 2}), Contains("[2, 3]"));
}

TEST_CASE_METHOD(GgufFixture, "gguf: version 2 is read, versions 1 and 4 and big-endian are not",
                 "[backbone][gguf]") {
  const GgufWriter writer = GgufWriter().add_text("name", "tiny");
  CHECK(open_gguf(write(writer.bytes(2)))->text("name") == "tiny");
  CHECK_THROWS_AS(open_gguf(write(writer.bytes(1))), NotSupported);
  CHECK_THROWS_AS(open_gguf(write(writer.bytes(4))), NotSupported);
  CHECK_THROWS_WITH(open_gguf(write(writer.bytes(0x03000000))), Contains("big-endian"));
}

TEST_CASE_METHOD(GgufFixture, "gguf: the digest is the file's SHA-256", "[backbone][gguf]") {
  const std::string bytes = GgufWriter().add_text("name", "tiny").bytes();
  CHECK(open_gguf(write(bytes))->digest() == sha256(bytes));
}

TEST_CASE_METHOD(GgufFixture, "gguf: a foreign tensor format is refused by its GGML name",
                 "[backbone][gguf]") {
  const auto [number, name] = GENERATE(table<uint32_t, const char*>(
      {{6, "Q5_0"}, {14, "Q6_K"}, {12, "Q4_K"}, {20, "IQ4_NL"}, {39, "MXFP4"}, {77, "format 77"}}));
  const std::string bytes =
      GgufWriter().add_tensor("w", {256}, number, std::string(1024, '\0')).bytes();
  CHECK_THROWS_AS(open_gguf(write(bytes)), NotSupported);
  CHECK_THROWS_WITH(open_gguf(write(bytes)), Contains(name) && Contains("'w'"));
}

TEST_CASE_METHOD(GgufFixture, "gguf: a path that is no file is an invalid argument",
                 "[backbone][gguf]") {
  CHECK_THROWS_AS(open_gguf(directory_ / "absent.gguf"), InvalidArgument);
  CHECK_THROWS_AS(open_gguf(directory_.path()), InvalidArgument);
}

TEST_CASE_METHOD(GgufFixture, "gguf: wrong magic, counts, types and extents are damage",
                 "[backbone][gguf]") {
  constexpr uint64_t kAbsurd = uint64_t{1} << 60;
  const std::string one_entry = header(3, 0, 1);
  const std::string key = raw<uint64_t>(1) + "k";
  const std::string tensor = raw<uint64_t>(1) + "w" + raw<uint32_t>(1);
  const auto [what, bytes] = GENERATE_COPY(table<std::string, std::string>({
      {"empty file", ""},
      {"wrong magic", "GGML" + raw<uint32_t>(3) + std::string(64, '\0')},
      {"tensor count", header(3, kAbsurd, 0)},
      {"entry count", header(3, 0, kAbsurd)},
      {"key length", one_entry + raw(kAbsurd)},
      {"key length near 2^64", one_entry + raw<uint64_t>(~uint64_t{0})},
      {"type number", one_entry + key + raw<uint32_t>(13) + raw<uint64_t>(0)},
      {"boolean", one_entry + key + raw<uint32_t>(7) + raw<uint8_t>(2)},
      {"integer range", one_entry + key + raw<uint32_t>(10) + raw<uint64_t>(~uint64_t{0})},
      {"text length", one_entry + key + raw(kText) + raw(kAbsurd)},
      {"text count", one_entry + key + raw(kArray) + raw(kText) + raw(kAbsurd)},
      {"element type", one_entry + key + raw(kArray) + raw<uint32_t>(99) + raw<uint64_t>(1)},
      {"byte count",
       one_entry + key + raw(kArray) + raw<uint32_t>(0) + raw<uint64_t>(9) + "12345678"},
      {"rank", header(3, 1, 0) + raw<uint64_t>(1) + "w" + raw<uint32_t>(5) + std::string(64, 1)},
      {"no dimension",
       header(3, 1, 0) + raw<uint64_t>(1) + "w" + raw<uint32_t>(0) + std::string(64, 0)},
      {"zero dimension", header(3, 1, 0) + tensor + raw<uint64_t>(0) + std::string(64, 0)},
      {"dimension", header(3, 1, 0) + tensor + raw(~uint64_t{0}) + std::string(64, 0)},
      {"elements", header(3, 1, 0) + tensor + raw(uint64_t{1} << 61) + std::string(64, 0)},
      {"offset", header(3, 1, 0) + tensor + raw<uint64_t>(1) + raw<uint32_t>(0) + raw(kAbsurd) +
                     std::string(64, 0)},
  }));
  CAPTURE(what);
  CHECK_THROWS_AS(open_gguf(write(bytes)), DataCorruption);
}

TEST_CASE_METHOD(GgufFixture, "gguf: a product of dimensions that overflows is damage",
                 "[backbone][gguf]") {
  const int64_t side = int64_t{1} << 32;
  CHECK_THROWS_AS(open(GgufWriter().add_tensor("w", {side, side}, GgufWriter::kF32, "")),
                  DataCorruption);
  CHECK_THROWS_AS(open(GgufWriter().add_tensor("w", {side, side, side, side}, 8, "")),
                  DataCorruption);
}

TEST_CASE_METHOD(GgufFixture,
                 "gguf: twice the same name, a torn block row or a bad alignment is damage",
                 "[backbone][gguf]") {
  CHECK_THROWS_AS(open(GgufWriter().add_integer("k", 1).add_integer("k", 1)), DataCorruption);
  const std::string four = raw(1.0F);
  CHECK_THROWS_AS(open(GgufWriter()
                           .add_tensor("w", {1}, GgufWriter::kF32, four)
                           .add_tensor("w", {1}, GgufWriter::kF32, four)),
                  DataCorruption);
  CHECK_THROWS_AS(open(GgufWriter().add_tensor("w", {33}, 8, std::string(68, '\0'))),
                  DataCorruption);
  const uint32_t alignment = GENERATE(0U, 3U, 33U, 1U << 31);
  CHECK_THROWS_AS(open(GgufWriter()
                           .add_integer("general.alignment", alignment)
                           .add_tensor("w", {1}, GgufWriter::kF32, four)),
                  DataCorruption);
}

TEST_CASE_METHOD(GgufFixture, "gguf: an array of arrays is not supported", "[backbone][gguf]") {
  const std::string nested = raw(kArray) + raw<uint64_t>(1) + raw<uint32_t>(0) + raw<uint64_t>(0);
  CHECK_THROWS_AS(open(GgufWriter().add_raw("k", kArray, nested)), NotSupported);
}

TEST_CASE_METHOD(GgufFixture, "gguf: a file cut anywhere is refused, never read past its end",
                 "[backbone][gguf][property]") {
  const std::string whole = read_file(write_tiny_llama_gguf(directory_.path(), 1));
  REQUIRE(read_all(write(whole)) == std::nullopt);
  const std::size_t part = GENERATE(range(std::size_t{0}, std::size_t{50}));
  CAPTURE(part);
  CHECK(is_refusal_of_damage(read_all(write(whole.substr(0, whole.size() * part / 50)))));
}

TEST_CASE_METHOD(GgufFixture, "gguf: any turned bit of the header is refused or read safely",
                 "[backbone][gguf][property]") {
  const std::string whole = read_file(write_tiny_llama_gguf(directory_.path(), 1));
  // The description and the tensor table; what follows are plain numbers.
  const std::size_t header_bytes = whole.find("blk.1.ffn_down.weight") + 64;
  REQUIRE(header_bytes < whole.size());
  Random random(7);
  for (std::size_t byte = 0; byte < header_bytes; ++byte) {
    const auto bit = static_cast<unsigned>(random.below(8));
    const std::optional<ErrorKind> refusal = read_all(write(with_bit_flipped(whole, byte, bit)));
    CAPTURE(byte, bit);
    REQUIRE((!refusal || is_refusal_of_damage(refusal)));
  }
}

TEST_CASE_METHOD(GgufFixture,
                 "gguf: any turned bit of the counts and the first entry is refused or read safely",
                 "[backbone][gguf][property]") {
  const std::string whole = read_file(write_tiny_llama_gguf(directory_.path(), 1));
  for (std::size_t i = 0; i < 8 * std::size_t{96}; ++i) {
    const std::optional<ErrorKind> refusal =
        read_all(write(with_bit_flipped(whole, i / 8, static_cast<unsigned>(i % 8))));
    CAPTURE(i);
    REQUIRE((!refusal || is_refusal_of_damage(refusal)));
  }
}

}  // namespace alluvium::tests
