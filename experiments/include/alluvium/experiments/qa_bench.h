// Question answering over published documents: quality, retrieval and cost of each codec, side by
// side in one run.
//
// Purpose: what `alluvium bench qa` measures. Documents are published once; every row asks the same
// questions of the same store. Threads: owned by the caller's thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "alluvium/service/configuration.h"
#include "alluvium/service/engine.h"

namespace alluvium::experiments {

struct QaBenchOptions {
  std::string documents;  ///< JSON lines (or any other source)
  std::string questions;  ///< JSON lines
  std::vector<std::string> codecs = {"none", "text", "kv"};
  std::vector<std::string> presets;  ///< of kv, each with a store of its own; empty: as configured
  std::vector<std::string> retrievals = {"gold", "bm25", "vector",
                                         "hybrid"};  ///< or rrf; gold = the documents the question
                                                     ///< names, withheld = the best other one
  std::vector<int64_t> top_k = {1};
  std::vector<std::string> compose = {"choose"};  ///< of two or more documents: service/compose.h
  std::vector<std::string> readers = {
      "none"};  ///< none, active (as configured) or the directory of an adapter
  /// experiments/peers/llama_cpp_answers.py: llama.cpp answers too, reading the retrieved documents
  /// in its prompt; empty: not
  std::string llama_cpp;
  int64_t limit = 0;         ///< questions asked; 0 = all
  int64_t recall_limit = 0;  ///< questions in the retrieval table; 0 = all
  uint64_t seed = 0;
  /// Publish and ask through an endpoint on a free port instead of by call
  bool over_sockets = false;
  service::Configuration configuration;  ///< its directory must be new or hold the same documents
};

/// Retrieval alone, in percent of the questions that name a document.
struct RecallRow {
  std::string retrieval;
  int64_t questions = 0;
  double recall_at_1 = 0;
  double recall_at_3 = 0;
  double recall_at_5 = 0;
  double recall_at_10 = 0;
};

struct QaRow {
  std::string codec;   ///< or llama.cpp
  std::string reader;  ///< name@version, or none
  std::string preset;  ///< of kv
  std::string retrieval;
  int64_t top_k = 0;
  std::string compose;  ///< of two or more documents, else empty
  int64_t questions = 0;
  double em = 0;           ///< percent
  double f1 = 0;           ///< percent
  double recall_at_k = 0;  ///< percent; k = top_k
  /// Stored for answering with this codec: records (kv), token ids (text)
  double bytes_per_document = 0;
  double first_token_ms_p50 = 0;
  double answer_ms_p50 = 0;
  double read_tokens_per_s = 0;  ///< kv: while publishing; text: while answering
  int64_t peak_rss_bytes = 0;
  double first_token_ms_p99 = 0;
  double answer_ms_p99 = 0;
  double answer_ms_mean = 0;
  double retrieve_ms_p50 = 0;
  double load_ms_p50 = 0;
  double choose_ms_mean = 0;
  double candidates_mean = 0;  ///< documents considered
  /// Percent of the questions answered whose first citation is a document they name
  double first_right = 0;
  double memory_slots_mean = 0;
  double recomputed_tokens_mean = 0;  ///< of the documents (compose blend, reuse)
  double answer_tokens_mean = 0;
  double ms_per_token = 0;  ///< of the answers' tokens after the first
  double refused = 0;       ///< percent of the questions
  int64_t fallbacks = 0;    ///< answers another codec than the row's gave: should be 0
};

/// One answer of one row, as given.
struct QaAnswer {
  std::string codec;
  std::string preset;
  std::string reader;
  std::string retrieval;
  int64_t top_k = 0;
  std::string compose;
  std::string question_id;
  std::vector<std::string> wanted;
  std::vector<std::string> documents;  ///< that the question names
  service::Answer answer;
  double f1 = 0;  ///< percent
};

/// Whether confidence tells what was answered rightly, over a codec's rows `gold` and `withheld`.
struct ConfidenceRow {
  std::string codec;
  std::string preset;
  std::string reader;
  int64_t answers = 0;
  /// Of the curve of risk (1 - F1; 1 where the document was withheld) over coverage, in [0, 1]
  double risk_coverage_area = 0;
  double refused_answerable = 0;    ///< percent
  double refused_unanswerable = 0;  ///< percent
};

struct QaReport {
  std::vector<QaRow> rows;
  std::vector<QaAnswer> answers;  ///< of all rows, in the order asked
  std::vector<RecallRow> recall;
  std::vector<ConfidenceRow> confidence;
  int64_t documents = 0;
  int64_t document_tokens = 0;
  double publish_s = 0;
  std::string device;
  std::string dtype;
  int64_t threads = 0;
};

/// Publishes, asks, measures; progress on standard error. When nothing but the gold documents is
/// read, no others are published. Throws InvalidArgument on an unknown
/// codec or retrieval method before publishing.
QaReport measure_qa(const QaBenchOptions& options);

}  // namespace alluvium::experiments
