#include <cstring>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "alluvium/backbone/checkpoint.h"
#include "damage.h"
#include "support/catch.h"
#include "support/checkpoint_writers.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::tests {
namespace {

using backbone::open_checkpoint;
using backbone::open_huggingface;
using backbone::StorageFormat;
using Catch::Matchers::Contains;

class DirectoryFixture {
 protected:
  // A directory whose only weight file holds these bytes.
  std::string write(std::string_view weights, std::string_view config = "{}") {
    write_file(directory_ / "config.json", config);
    write_file(directory_ / "model.safetensors", weights);
    return directory_.path();
  }

  std::string write_header(std::string_view header, std::string_view data) {
    return write(safetensors_bytes(header, data));
  }

  TemporaryDirectory directory_;
};

}  // namespace

TEST_CASE_METHOD(DirectoryFixture, "safetensors: tensors come in file order with shape and data",
                 "[backbone][safetensors]") {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const auto checkpoint = open_checkpoint(write(safetensors_bytes({
      {"z.weight", "F32", {2, 3}, bytes_of(values)},
      {"a.weight", "F16", {2}, std::string(4, '\0')},
      {"b.weight", "BF16", {1, 1}, std::string(2, '\0')},
      {"ids", "I64", {}, std::string(8, '\0')},
      {"empty", "F32", {0, 4}, ""},
  })));
  CHECK(checkpoint->kind() == std::string("huggingface"));
  REQUIRE(checkpoint->tensors().size() == 5);
  CHECK(checkpoint->tensors()[0].name == "z.weight");
  const backbone::StoredTensor& matrix = checkpoint->require_tensor("z.weight", {2, 3});
  CHECK(std::memcmp(matrix.data, values.data(), matrix.bytes) == 0);
  CHECK(checkpoint->require_tensor("a.weight", {2}).format == StorageFormat::f16);
  CHECK(checkpoint->require_tensor("b.weight", {1, 1}).format == StorageFormat::bf16);
  CHECK(checkpoint->require_tensor("ids", {}).format == StorageFormat::i64);
  CHECK(checkpoint->require_tensor("empty", {0, 4}).bytes == 0);
}

TEST_CASE_METHOD(DirectoryFixture, "safetensors: config keys are flattened with dots",
                 "[backbone][safetensors]") {
  const auto checkpoint =
      open_huggingface(write(safetensors_bytes(std::vector<SafetensorsEntry>{}), R"({
    "hidden_size": 32, "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "rope_theta": 10000.0,
    "rope_scaling": {"type": "linear", "factor": 2}, "eos_token_id": [1, 2], "architectures": ["X"],
    "scales": [1, 0.5], "nothing": null, "mixed": [1, "a"]})"));
  CHECK(checkpoint->integer("config.hidden_size") == 32);
  CHECK(checkpoint->real("config.rms_norm_eps") == 1e-5);
  CHECK(std::get<bool>(*checkpoint->find_metadata("config.tie_word_embeddings")));
  CHECK(checkpoint->real("config.rope_theta") == 10000.0);
  CHECK(checkpoint->text("config.rope_scaling.type") == "linear");
  CHECK(checkpoint->real("config.rope_scaling.factor") == 2.0);
  CHECK(std::get<std::vector<int64_t>>(*checkpoint->find_metadata("config.eos_token_id")) ==
        std::vector<int64_t>{1, 2});
  CHECK(std::get<std::vector<std::string>>(*checkpoint->find_metadata("config.architectures")) ==
        std::vector<std::string>{"X"});
  CHECK(std::get<std::vector<double>>(*checkpoint->find_metadata("config.scales")) ==
        std::vector<double>{1.0, 0.5});
  CHECK(checkpoint->find_metadata("config.nothing") == nullptr);
  CHECK(checkpoint->find_metadata("config.mixed") == nullptr);
}

TEST_CASE_METHOD(DirectoryFixture, "safetensors: shards are joined as the index names them",
                 "[backbone][safetensors]") {
  const std::string four = bytes_of(std::vector<float>{4});
  write_file(directory_ / "config.json", "{}");
  write_file(directory_ / "model-1.safetensors", safetensors_bytes({{"a", "F32", {1}, four}}));
  write_file(directory_ / "model-2.safetensors", safetensors_bytes({{"b", "F32", {1}, four}}));
  const auto write_index = [&](const nlohmann::json& map) {
    write_file(directory_ / "model.safetensors.index.json",
               nlohmann::json{{"weight_map", map}}.dump());
  };
  write_index({{"a", "model-1.safetensors"}, {"b", "model-2.safetensors"}});
  const auto checkpoint = open_huggingface(directory_.path());
  CHECK(checkpoint->find_tensor("a") != nullptr);
  CHECK(checkpoint->find_tensor("b") != nullptr);

  SECTION("a missing shard is named") {
    write_index({{"a", "model-3.safetensors"}});
    CHECK_THROWS_WITH(open_huggingface(directory_.path()), Contains("model-3.safetensors"));
  }
  SECTION("an index that leaves its directory is refused") {
    write_index({{"a", "../model-1.safetensors"}});
    CHECK_THROWS_AS(open_huggingface(directory_.path()), DataCorruption);
  }
  SECTION("a tensor in two shards is refused") {
    write_file(directory_ / "model-2.safetensors", safetensors_bytes({{"a", "F32", {1}, four}}));
    CHECK_THROWS_AS(open_huggingface(directory_.path()), DataCorruption);
  }
  SECTION("an index without a map is refused") {
    write_file(directory_ / "model.safetensors.index.json", "{}");
    CHECK_THROWS_AS(open_huggingface(directory_.path()), DataCorruption);
  }
}

TEST_CASE_METHOD(DirectoryFixture,
                 "safetensors: the digest changes with the weights and with the config",
                 "[backbone][safetensors]") {
  const auto digest = [&](float value, std::string_view config) {
    const std::string bytes = bytes_of(std::vector<float>{value});
    return open_huggingface(write(safetensors_bytes({{"a", "F32", {1}, bytes}}), config))->digest();
  };
  const Digest first = digest(1, "{}");
  CHECK(digest(1, "{}") == first);
  CHECK(digest(2, "{}") != first);
  CHECK(digest(1, "{ }") != first);
}

TEST_CASE_METHOD(DirectoryFixture, "safetensors: a foreign dtype is refused by name",
                 "[backbone][safetensors]") {
  const std::string path = write(safetensors_bytes({{"w", "F8_E4M3", {4}, "abcd"}}));
  CHECK_THROWS_AS(open_huggingface(path), NotSupported);
  CHECK_THROWS_WITH(open_huggingface(path), Contains("F8_E4M3") && Contains("'w'"));
}

TEST_CASE_METHOD(DirectoryFixture, "safetensors: damaged headers are refused",
                 "[backbone][safetensors]") {
  const std::string header = GENERATE(
      "", "[]", "7", "{", "{\"w\": 1}", "{\"w\": {}}",
      R"({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}})",
      R"({"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}})",
      R"({"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}})",
      R"({"w": {"dtype": "F32", "shape": [1], "data_offsets": [5, 9]}})",
      R"({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0]}})",
      R"({"w": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}})",
      R"({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 1e30]}})",
      R"({"w": {"dtype": "F32", "shape": [1], "data_offsets": [18446744073709551612, 0]}})",
      R"({"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}})",
      R"({"w": {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]}})",
      R"({"w": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]}})",
      R"({"w": {"dtype": "F32", "shape": [18446744073709551615], "data_offsets": [0, 4]}})",
      R"({"w": {"dtype": 1, "shape": [1], "data_offsets": [0, 4]}})",
      R"({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})",
      "{\"\xff\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [0, 4]}}");
  CAPTURE(header);
  CHECK_THROWS_AS(open_huggingface(write_header(header, std::string(8, '\0').substr(0, 7))),
                  DataCorruption);
}

TEST_CASE_METHOD(DirectoryFixture, "safetensors: a header length beyond the file is refused",
                 "[backbone][safetensors]") {
  const uint64_t length = GENERATE(uint64_t{3}, uint64_t{1} << 40, ~uint64_t{0});
  CHECK_THROWS_AS(open_huggingface(write(bytes_of(std::vector<uint64_t>{length}) + "{}")),
                  DataCorruption);
  CHECK_THROWS_AS(open_huggingface(write("")), DataCorruption);
  CHECK_THROWS_AS(open_huggingface(write("1234567")), DataCorruption);
}

TEST_CASE_METHOD(DirectoryFixture, "safetensors: deep nesting is refused without overflow",
                 "[backbone][safetensors]") {
  std::string nested;
  for (int i = 0; i < 100000; ++i) {
    nested += "{\"a\":";
  }
  nested += "1" + std::string(100000, '}');
  CHECK_THROWS_AS(open_huggingface(write(safetensors_bytes("{}", ""), nested)), DataCorruption);
  CHECK_THROWS_AS(open_huggingface(write_header(nested, "")), DataCorruption);
}

TEST_CASE_METHOD(DirectoryFixture,
                 "safetensors: a directory without weights or config is an invalid argument",
                 "[backbone][safetensors]") {
  CHECK_THROWS_AS(open_huggingface(directory_.path()), InvalidArgument);
  write_file(directory_ / "config.json", "{}");
  CHECK_THROWS_AS(open_huggingface(directory_.path()), InvalidArgument);
  write_file(directory_ / "config.json", "not json");
  CHECK_THROWS_AS(open_huggingface(directory_.path()), DataCorruption);
}

TEST_CASE("safetensors: a file cut anywhere is refused, never read past its end",
          "[backbone][safetensors][property]") {
  const TemporaryDirectory directory;
  const std::string path = write_tiny_llama_huggingface(directory.path(), 1);
  const std::string weights = path + "/model.safetensors";
  const std::string whole = read_file(weights);
  REQUIRE(read_all(path) == std::nullopt);
  for (std::size_t part = 0; part < 50; ++part) {
    write_file(weights, whole.substr(0, whole.size() * part / 50));
    CAPTURE(part);
    REQUIRE(is_refusal_of_damage(read_all(path)));
  }
}

TEST_CASE("safetensors: any turned bit of the header is refused or read safely",
          "[backbone][safetensors][property]") {
  const TemporaryDirectory directory;
  const std::string path = write_tiny_llama_huggingface(directory.path(), 1);
  const std::string weights = path + "/model.safetensors";
  const std::string whole = read_file(weights);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, whole.data(), sizeof(header_bytes));
  Random random(11);
  for (std::size_t byte = 0; byte < sizeof(header_bytes) + header_bytes; ++byte) {
    const auto bit = static_cast<unsigned>(random.below(8));
    write_file(weights, with_bit_flipped(whole, byte, bit));
    const std::optional<ErrorKind> refusal = read_all(path);
    CAPTURE(byte, bit);
    REQUIRE((!refusal || is_refusal_of_damage(refusal)));
  }
}

}  // namespace alluvium::tests
