#include "tiny_engine.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>
#include <fstream>
#include <thread>

#include <ATen/ops/empty.h>

#include "alluvium/backbone/checkpoint.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::tests {
namespace {

constexpr int64_t kPatienceMs = 60000;

class WordEncoder final : public backbone::Encoder {
 public:
  int64_t dimension() const override { return kDimension; }
  const Digest& fingerprint() const override { return fingerprint_; }

  at::Tensor embed(std::span<const std::string> texts) const override {
    at::Tensor rows = at::empty({static_cast<int64_t>(texts.size()), kDimension},
                                at::TensorOptions().dtype(at::kFloat));
    auto* row = rows.mutable_data_ptr<float>();
    for (const std::string& text : texts) {
      embed_one(text, row);
      row += kDimension;
    }
    return rows;
  }

 private:
  static constexpr int64_t kDimension = 64;

  static void embed_one(const std::string& text, float* row) {
    std::fill(row, row + kDimension, 0.001F);
    uint64_t hash = 0;
    for (const char c : text + " ") {
      if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
        hash = 31 * hash + static_cast<uint64_t>(std::tolower(static_cast<unsigned char>(c)));
      } else if (hash != 0) {
        row[(hash * 0x9e3779b97f4a7c15ULL) >> 58] += 1;
        hash = 0;
      }
    }
    double square = 0;
    for (int64_t i = 0; i < kDimension; ++i) {
      square += static_cast<double>(row[i]) * static_cast<double>(row[i]);
    }
    for (int64_t i = 0; i < kDimension; ++i) {
      row[i] /= static_cast<float>(std::sqrt(square));
    }
  }

  const Digest fingerprint_ = sha256("word encoder");
};

}  // namespace

std::shared_ptr<const backbone::Encoder> make_word_encoder() {
  return std::make_shared<const WordEncoder>();
}

service::Models make_tiny_models(const std::string& directory, uint64_t seed) {
  const std::string path = write_tiny_llama_gguf(directory, seed);
  const auto checkpoint = backbone::open_checkpoint(path);
  service::Models models;
  models.decoder_tokenizer = backbone::load_tokenizer(*checkpoint, path);
  models.decoder = backbone::load_decoder(*checkpoint, backbone::reference_policy());
  models.encoder = make_word_encoder();
  return models;
}

service::Configuration tiny_configuration(const std::string& directory) {
  service::Configuration configuration = service::default_configuration();
  configuration.directory = directory + "/instance";
  configuration.prompt.prefix = "<|endoftext|>Read. ";
  configuration.prompt.document = "{title}: {text}\n";
  configuration.prompt.untitled_document = "{text}\n";
  configuration.prompt.question = "Q {question} A";
  configuration.prompt.stop = {};
  configuration.prompt.max_chunk_tokens = 96;
  configuration.answer.max_tokens = 8;
  configuration.reader.initial = "none";
  configuration.codec.preset = "lossless";
  return configuration;
}

std::optional<service::Models> default_models() {
  const auto decoder = default_decoder_path();
  const auto encoder = default_encoder_path();
  if (!decoder || !encoder) {
    WARN("skipped: the default models are not installed");
    return std::nullopt;
  }
  service::Configuration configuration = service::default_configuration();
  configuration.models.decoder = *decoder;
  configuration.models.encoder = *encoder;
  configuration.models.device.device = "cpu";
  configuration.models.device.dtype = "f32";
  configuration.models.device.decode = "dtype";
  return service::load_models(configuration);
}

service::Configuration reference_configuration(const std::string& directory) {
  service::Configuration configuration = service::default_configuration();
  configuration.directory = directory + "/instance";
  configuration.reader.initial = "none";
  configuration.codec.preset = "lossless";
  return configuration;
}

Document make_document(const std::string& id, uint64_t version, const std::string& title,
                       const std::string& text, const std::string& name_space) {
  Document document;
  document.name_space = name_space;
  document.id = id;
  document.version = version;
  document.title = title;
  document.text = text;
  return document;
}

int64_t publish(service::Engine& engine, const std::vector<Document>& documents) {
  std::vector<memory_bank::LogEntry> entries;
  for (const Document& document : documents) {
    entries.emplace_back().document = document;
  }
  const int64_t offset = engine.log(entries).back();
  REQUIRE(engine.wait_applied(offset, kPatienceMs));
  return offset;
}

int64_t erase(service::Engine& engine, const std::string& id, uint64_t version) {
  std::vector<memory_bank::LogEntry> entries(1);
  entries[0].kind = memory_bank::LogEntry::Kind::erase;
  entries[0].document = make_document(id, version, "", "");
  const int64_t offset = engine.log(entries).back();
  REQUIRE(engine.wait_applied(offset, kPatienceMs));
  return offset;
}

service::Question ask_for(const std::string& text, const std::string& codec) {
  service::Question question;
  question.text = text;
  question.codec = codec;
  return question;
}

void damage_first_record(const service::Configuration& configuration) {
  // In place: a running service has the file open.
  std::fstream file(configuration.directory + "/memories/000001.seg",
                    std::ios::in | std::ios::out | std::ios::binary);
  constexpr std::streamoff kAt = 64 + 700;  // past the file's header, inside the record
  const int byte = file.seekg(kAt).get();
  REQUIRE(file.good());
  file.seekp(kAt).put(static_cast<char>(~byte));
}

void wait_remade(service::Engine& engine) {
  for (int64_t waited = 0; engine.status().remaking; waited += 5) {
    REQUIRE(waited < kPatienceMs);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace alluvium::tests
