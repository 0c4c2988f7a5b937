#include "configuration_keys.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "alluvium/core/error.h"
#include "alluvium/service/compose.h"
#include "loopback.h"

namespace alluvium::service {
namespace {

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};

#define ALLUVIUM_FIELD(member) \
  [](Configuration & c) -> auto& { return c.member; }

constexpr double kMany = 1e15;
constexpr double kMebibyte = 1024.0 * 1024.0;

std::vector<ConfigurationKey> make_keys() {
  return {
      {"directory", ALLUVIUM_FIELD(directory)},
      {"log_level", ALLUVIUM_FIELD(log_level), 0, 0, {"debug", "info", "warn", "error"}},
      {"memory_bytes", ALLUVIUM_FIELD(memory_bytes), 0, kMany},
      {"cache_bytes", ALLUVIUM_FIELD(cache_bytes), 0, kMany},

      {"models.decoder", ALLUVIUM_FIELD(models.decoder)},
      {"models.encoder", ALLUVIUM_FIELD(models.encoder)},
      {"models.device", ALLUVIUM_FIELD(models.device.device), 0, 0, {"auto", "cpu", "cuda"}},
      {"models.dtype", ALLUVIUM_FIELD(models.device.dtype), 0, 0, {"auto", "f32", "bf16"}},
      {"models.decode", ALLUVIUM_FIELD(models.device.decode), 0, 0, {"auto", "blocks", "dtype"}},
      {"models.threads", ALLUVIUM_FIELD(models.device.threads), 0, 1024},

      {"prompt.prefix", ALLUVIUM_FIELD(prompt.prefix)},
      {"prompt.document", ALLUVIUM_FIELD(prompt.document)},
      {"prompt.untitled_document", ALLUVIUM_FIELD(prompt.untitled_document)},
      {"prompt.question", ALLUVIUM_FIELD(prompt.question)},
      {"prompt.stop", ALLUVIUM_FIELD(prompt.stop)},
      {"prompt.max_chunk_tokens", ALLUVIUM_FIELD(prompt.max_chunk_tokens), 32, 1 << 20},

      {"codec.preset", ALLUVIUM_FIELD(codec.preset), 0, 0, memory_bank::kv_presets()},
      {"codec.keep", ALLUVIUM_FIELD(codec.keep), 0, 1},
      {"codec.observer",
       ALLUVIUM_FIELD(codec.observer),
       0,
       0,
       {"preset", "repeat", "expected_attention", "tail", "h2o", "zipcache", "keydiff", "random"}},
      {"codec.budget",
       ALLUVIUM_FIELD(codec.budget),
       0,
       0,
       {"preset", "global", "curves", "uniform", "pyramid", "d2o"}},
      {"codec.key_bits", ALLUVIUM_FIELD(codec.key_bits), 0, 32},
      {"codec.value_bits", ALLUVIUM_FIELD(codec.value_bits), 0, 32},
      {"codec.key_channels", ALLUVIUM_FIELD(codec.key_channels), 0, 1},
      {"codec.boundary_bits", ALLUVIUM_FIELD(codec.boundary_bits), 0, 8},
      {"codec.key_group", ALLUVIUM_FIELD(codec.key_group), 0, 4096},
      {"codec.scale_bits", ALLUVIUM_FIELD(codec.scale_bits), 0, 16},
      {"codec.merge",
       ALLUVIUM_FIELD(codec.merge),
       0,
       0,
       {"preset", "none", "values", "neighbours", "d2o", "ems", "compensation"}},
      {"codec.residual_rank", ALLUVIUM_FIELD(codec.residual_rank), 0, 256},
      {"codec.tail_bits", ALLUVIUM_FIELD(codec.tail_bits), 0, 4},
      {"codec.quantiser",
       ALLUVIUM_FIELD(codec.quantiser),
       0,
       0,
       {"preset", "minmax", "cachegen", "transform"}},
      {"codec.key_step", ALLUVIUM_FIELD(codec.key_step), 0, 10},
      {"codec.value_step", ALLUVIUM_FIELD(codec.value_step), 0, 10},
      {"codec.basis", ALLUVIUM_FIELD(codec.basis)},
      {"codec.entropy", ALLUVIUM_FIELD(codec.entropy), 0, 0, {"preset", "none", "zstd", "rans"}},
      {"codec.richer_share", ALLUVIUM_FIELD(codec.richer_share), 0, 0.5},
      {"codec.quality_tokens", ALLUVIUM_FIELD(codec.quality_tokens), 0, 512},
      {"codec.positions", ALLUVIUM_FIELD(codec.positions), 0, 0, {"parallel", "sequential"}},
      {"codec.temperature", ALLUVIUM_FIELD(codec.temperature), 0.01, 100},
      {"codec.lse_scale", ALLUVIUM_FIELD(codec.lse_scale), 0.01, 100},

      {"retrieval.candidates", ALLUVIUM_FIELD(retrieval.candidates), 1, 1e6},
      {"retrieval.vector_weight", ALLUVIUM_FIELD(retrieval.vector_weight), 0, 1e6},
      {"retrieval.rrf_k", ALLUVIUM_FIELD(retrieval.rrf_k), 0, 1e6},
      {"retrieval.index", ALLUVIUM_FIELD(retrieval.index), 0, 0, {"auto", "exact", "hnsw"}},
      {"retrieval.exact_keys", ALLUVIUM_FIELD(retrieval.exact_keys), 0, 1e12},

      {"answer.codec", ALLUVIUM_FIELD(answer.codec), 0, 0, {"none", "text", "kv"}},
      {"answer.retrieval",
       ALLUVIUM_FIELD(answer.retrieval),
       0,
       0,
       {"bm25", "vector", "hybrid", "rrf"}},
      {"answer.top_k", ALLUVIUM_FIELD(answer.top_k), 1, 1000},
      {"answer.compose", ALLUVIUM_FIELD(answer.compose), 0, 0, compose_words()},
      {"answer.recompute", ALLUVIUM_FIELD(answer.recompute), 0, 1},
      {"answer.reuse_alpha", ALLUVIUM_FIELD(answer.reuse_alpha), 0, 100},
      {"answer.retrieval_weight", ALLUVIUM_FIELD(answer.choice.retrieval_weight), -1, 1e6},
      {"answer.question_weight", ALLUVIUM_FIELD(answer.choice.question_weight), -1, 1e6},
      {"answer.evidence_weight", ALLUVIUM_FIELD(answer.choice.evidence_weight), -1, 1e6},
      {"answer.least_share", ALLUVIUM_FIELD(answer.choice.least_share), 0, 1},
      {"answer.max_tokens", ALLUVIUM_FIELD(answer.max_tokens), 1, 1 << 20},
      {"answer.read_ahead", ALLUVIUM_FIELD(answer.read_ahead), 0, 64},
      {"answer.temperature", ALLUVIUM_FIELD(answer.temperature), 0, 100},
      {"answer.top_p", ALLUVIUM_FIELD(answer.top_p), 1e-6, 1},
      {"answer.max_question_tokens", ALLUVIUM_FIELD(answer.max_question_tokens), 1, 1 << 20},
      {"answer.max_chunks", ALLUVIUM_FIELD(answer.max_chunks), 1, 1000},

      {"reader.initial", ALLUVIUM_FIELD(reader.initial)},
      {"reader.refuse_above", ALLUVIUM_FIELD(reader.refuse_above), -1, 1},
      {"reader.refuse_below", ALLUVIUM_FIELD(reader.refuse_below), 0, 1},

      {"ingest.batch_tokens", ALLUVIUM_FIELD(ingest.batch_tokens), 1, 1 << 24},
      {"ingest.batch_documents", ALLUVIUM_FIELD(ingest.batch_documents), 1, 1 << 16},
      {"ingest.queue_documents", ALLUVIUM_FIELD(ingest.queue_documents), 1, 1 << 24},
      {"ingest.keys_per_document", ALLUVIUM_FIELD(ingest.keys_per_document), 1, 1 << 16},
      {"ingest.queue_bytes", ALLUVIUM_FIELD(ingest.queue_bytes), kMebibyte, kMany},
      {"ingest.text_bytes", ALLUVIUM_FIELD(ingest.limits.text_bytes), 1, 16 * kMebibyte},
      {"ingest.title_bytes", ALLUVIUM_FIELD(ingest.limits.title_bytes), 0, kMebibyte},
      {"ingest.id_bytes", ALLUVIUM_FIELD(ingest.limits.id_bytes), 1, 8192},
      {"ingest.namespace_bytes", ALLUVIUM_FIELD(ingest.limits.namespace_bytes), 1, 8192},
      {"ingest.metadata_entries", ALLUVIUM_FIELD(ingest.limits.metadata_entries), 0, 64},
      {"ingest.metadata_bytes", ALLUVIUM_FIELD(ingest.limits.metadata_bytes), 0, 32 * 1024},

      {"streams.gate",
       ALLUVIUM_FIELD(streams.gate),
       0,
       0,
       {"none", "bm25", "dedupe", "dsir", "embedding", "random", "zip_fit"}},
      {"streams.gate_target", ALLUVIUM_FIELD(streams.gate_target)},
      {"streams.gate_target_version", ALLUVIUM_FIELD(streams.gate_target_version), 0, kMany},
      {"streams.gate_quantile", ALLUVIUM_FIELD(streams.gate_quantile), 0, 0.999},
      {"streams.gate_window", ALLUVIUM_FIELD(streams.gate_window), 1, 1 << 20},
      {"streams.gate_warm_up", ALLUVIUM_FIELD(streams.gate_warm_up), 0, 1 << 20},
      {"streams.gate_dedupe_semantic", ALLUVIUM_FIELD(streams.gate_dedupe_semantic), 0, 1},
      {"streams.gate_dedupe_capacity", ALLUVIUM_FIELD(streams.gate_dedupe_capacity), 1, 1 << 24},

      {"endpoint.address", ALLUVIUM_FIELD(endpoint.address)},
      {"endpoint.port", ALLUVIUM_FIELD(endpoint.port), 0, 65535},
      {"endpoint.events_port", ALLUVIUM_FIELD(endpoint.events_port), 0, 65535},
      {"endpoint.credit_messages", ALLUVIUM_FIELD(endpoint.credit_messages), 1, 1 << 20},
      {"endpoint.credit_bytes", ALLUVIUM_FIELD(endpoint.credit_bytes), 1, kMany},
      {"endpoint.answer_threads", ALLUVIUM_FIELD(endpoint.answer_threads), 1, 256},
      {"endpoint.heartbeat_ms", ALLUVIUM_FIELD(endpoint.heartbeat_ms), 10, 3600000},
  };
}

#undef ALLUVIUM_FIELD

/// Levenshtein distance: the fewest insertions, deletions and replacements.
std::size_t edit_distance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < from.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < to.size(); ++j) {
      const std::size_t replaced = diagonal + (from[i] == to[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

template <class Number>
void check_bounds(const ConfigurationKey& key, Number value) {
  const auto number = static_cast<double>(value);
  // Written so that NaN, which compares false with everything, is refused.
  ALLUVIUM_CHECK(number >= key.minimum && number <= key.maximum,
                 "{} must lie in [{:.10g}, {:.16g}], got {}", key.name, key.minimum, key.maximum,
                 value);
}

void check_word(const ConfigurationKey& key, const std::string& value) {
  const bool known =
      key.words.empty() || std::find(key.words.begin(), key.words.end(), value) != key.words.end();
  ALLUVIUM_CHECK(known, "{} must be one of {}, got '{}'", key.name, fmt::join(key.words, ", "),
                 value);
}

void check_special(const ConfigurationKey& key, const Configuration& configuration) {
  if (key.name == "endpoint.address") {
    check_loopback(configuration.endpoint.address);
  }
  if (key.name == "directory") {
    ALLUVIUM_CHECK(!configuration.directory.empty(), "directory must not be empty");
  }
}

}  // namespace

const std::vector<ConfigurationKey>& configuration_keys() {
  static const std::vector<ConfigurationKey> keys = make_keys();
  return keys;
}

const ConfigurationKey* find_configuration_key(std::string_view name) {
  for (const ConfigurationKey& key : configuration_keys()) {
    if (key.name == name) {
      return &key;
    }
  }
  return nullptr;
}

std::string describe_unknown_key(std::string_view name) {
  std::string nearest;
  std::size_t distance = std::numeric_limits<std::size_t>::max();
  for (const ConfigurationKey& key : configuration_keys()) {
    // A field named without its section is the commonest slip: compare with the bare field too.
    const std::string_view bare = std::string_view(key.name).substr(key.name.rfind('.') + 1);
    const std::size_t here = std::min(edit_distance(name, key.name), edit_distance(name, bare));
    if (here < distance) {
      distance = here;
      nearest = key.name;
    }
  }
  const bool close = distance <= std::max<std::size_t>(2, name.size() / 3);
  return close ? fmt::format("unknown key '{}'; did you mean '{}'?", name, nearest)
               : fmt::format("unknown key '{}'; alluvium.toml lists every key", name);
}

ConfigurationValue read_key(const ConfigurationKey& key, const Configuration& configuration) {
  // One accessor serves reading and setting; nothing is changed through it here.
  auto& readable = const_cast<Configuration&>(configuration);
  return std::visit([&](auto field) -> ConfigurationValue { return field(readable); }, key.field);
}

void check_key(const ConfigurationKey& key, const Configuration& configuration) {
  std::visit(Overloaded{[&](const std::string& value) { check_word(key, value); },
                        [](const std::vector<std::string>&) {},
                        [&](auto number) { check_bounds(key, number); }},
             read_key(key, configuration));
  check_special(key, configuration);
}

}  // namespace alluvium::service
