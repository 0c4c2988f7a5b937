// alluvium.toml as a structure: every key, its default, its unit.
//
// Purpose: one place that says what can be set. The shipped alluvium.toml documents the same keys for people; a test holds the two together.
// Threads: plain data.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "alluvium/backbone/device.h"
#include "alluvium/core/document.h"
#include "alluvium/memory_bank/codec.h"
#include "alluvium/memory_bank/retriever.h"
#include "alluvium/memory_bank/sentences.h"

namespace alluvium::service {

struct ModelsConfiguration {
  /// GGUF file or Hugging Face directory; empty = the default model in the cache folder.
  std::string decoder;
  /// Hugging Face directory; empty = the default encoder in the cache folder.
  std::string encoder;
  backbone::DeviceOptions device;
};

struct TemplateConfiguration {
  /// Worked examples, read once; special tokens are recognised.
  std::string prefix;
  /// {title} and {text} are replaced.
  std::string document = "Passage: {title}. {text}\n";
  /// The form of a document without a title.
  std::string untitled_document = "Passage: {text}\n";
  std::string question = "Question: {question}\nAnswer:";  ///< {question}
  std::vector<std::string> stop = {"\n"};
  int64_t max_chunk_tokens = 1024;
};

/// How the document to answer from is chosen among candidates: a softmax over these times each candidate's figures. Below 0: as fitted
/// (`alluvium calibrate`), the reader's own or else the built-in ones.
struct ChoiceConfiguration {
  double retrieval_weight = -1;  ///< of the retrieval score as a share of the highest
  double question_weight = -1;   ///< of the question's log-probability over the memory
  double evidence_weight = -1;   ///< of the log-odds that the reader does not refuse
  /// Candidates with less than this share of the highest retrieval score are not read
  double least_share = 0.85;
};

struct AnswerConfiguration {
  std::string codec = "kv";
  std::string retrieval = "hybrid";
  int64_t top_k = 5;  ///< documents considered for a question
  std::string compose =
      "choose";  ///< of several: choose | together | sequence | blend | reuse (compose.h)
  /// Of blend: share of the documents' tokens recomputed in every layer (CacheBlend's 16 %)
  double recompute = 0.16;
  /// Of reuse: recomputed is this times what attention says (Cache-Craft's alpha)
  double reuse_alpha = 0.5;
  ChoiceConfiguration choice;
  int64_t max_tokens = 32;
  /// Tokens of the document read ahead in one pass with those of the answer that quote it; 0 = none
  int64_t read_ahead = 4;
  double temperature = 0;
  double top_p = 1;
  int64_t max_question_tokens = 1024;
  int64_t max_chunks = 10;  ///< chunks read at most, over all documents of a question
};

struct ReaderConfiguration {
  /// The first reader of a new instance: a directory, "none", or "auto" for the installed one that fits the decoder.
  std::string initial = "auto";
  /// Nothing is answered where the reader's probability of refusing is above this, in [0, 1], and elsewhere an answer is given; below 0 =
  /// the reader's own threshold
  double refuse_above = -1;
  double refuse_below = 0;  ///< answers of less confidence are withheld; 0 = none
};

struct IngestConfiguration {
  int64_t batch_tokens = 2048;  ///< tokens read in one forward pass
  int64_t batch_documents = 64;
  int64_t queue_documents = 1024;  ///< credit granted to all publishers together
  int64_t keys_per_document = 64;  ///< sentence keys at most
  std::size_t queue_bytes = std::size_t{256} << 20;
  DocumentLimits limits;
};

struct StreamsConfiguration {
  /// Selector that decides which new documents become memories: none, bm25, dedupe, dsir, embedding, random, zip_fit
  std::string gate = "none";
  /// JSON lines with a field "text": what the documents should be like; dedupe and random need none
  std::string gate_target;
  int64_t gate_target_version = 1;  ///< stands beside every score
  double gate_quantile = 0.5;       ///< share of the documents that is kept out
  int64_t gate_window = 1000;       ///< scores the quantile is taken of
  int64_t gate_warm_up = 50;        ///< so many documents pass at first
  /// Of dedupe: cosine of embeddings above which a document is a copy too; 0 = embeddings are not asked for
  double gate_dedupe_semantic = 0;
  int64_t gate_dedupe_capacity = 262'144;  ///< of dedupe: documents remembered
};

struct EndpointConfiguration {
  std::string address = "127.0.0.1";  ///< loopback only
  int64_t port = 7400;                ///< requests (ROUTER); 0 = any free port
  int64_t events_port = 7402;         ///< events (PUB); 0 = any free port
  int64_t credit_messages = 256;      ///< initial credit of a publisher
  std::size_t credit_bytes = std::size_t{8} << 20;
  int64_t answer_threads = 1;  ///< questions answered at once
  int64_t heartbeat_ms = 2000;
};

struct Configuration {
  std::string directory = "alluvium-data";  ///< everything the instance keeps
  ModelsConfiguration models;
  TemplateConfiguration prompt;
  memory_bank::CodecOptions codec;
  memory_bank::RetrieverOptions retrieval;
  AnswerConfiguration answer;
  ReaderConfiguration reader;
  IngestConfiguration ingest;
  StreamsConfiguration streams;
  EndpointConfiguration endpoint;
  std::size_t cache_bytes = std::size_t{2} << 30;  ///< decoded memories kept in RAM
  /// RAM of the whole program, as far as the cache can see to it; 0 = cache_bytes alone is the bound
  std::size_t memory_bytes = 0;
  std::string log_level = "info";  ///< debug | info | warn | error
};

/// The built-in defaults (the shipped prefix with its worked examples included).
Configuration default_configuration();

/// Reads a TOML file over the defaults. Throws InvalidArgument naming file, line and key: unknown key, wrong type, value outside its bounds.
Configuration load_configuration(const std::string& path);

/// As load_configuration, from text; `name` stands in messages.
Configuration parse_configuration(const std::string& toml, const std::string& name);

/// Sets one key by its dotted name, e.g. "endpoint.port" = "7500" (command-line flags use it). Throws InvalidArgument as above.
void set_configuration_key(Configuration& configuration, const std::string& key,
                           const std::string& value);

/// Throws InvalidArgument naming the first key whose value is outside its bounds; a non-loopback address is refused here.
void validate_configuration(const Configuration& configuration);

/// The effective configuration as TOML, every key present.
std::string to_toml(const Configuration& configuration);

/// ${ALLUVIUM_CACHE:-${XDG_CACHE_HOME:-~/.cache}/alluvium}: where ./run keeps the default models.
std::string cache_directory();

}  // namespace alluvium::service
