// Answer quality against bytes: every way to keep a document's keys and values, on the same questions.
//
// Purpose: what `alluvium bench frontier` measures. Each document is read once an observer; every
//          setting keeps that reading in its own way and answers the document's questions from what
//          its record gives. Answers are written as they come, and a run goes on where it stopped, or in
//          parts on several machines: answers.jsonl of all parts in one file is what one run had written.
// Threads: owned by the caller's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "alluvium/memory_bank/codec.h"
#include "alluvium/service/configuration.h"

namespace alluvium::experiments {

/// One way to give a document to the model.
struct FrontierSetting {
  enum class Kind { closed_book, text, cut_text, kv };

  std::string name;
  Kind kind = Kind::kv;
  memory_bank::CodecOptions options;  ///< of kv
  double keep = 1;  ///< of cut_text: share of the document's tokens read, from its start
  std::string reader = "none";  ///< or the directory of the adapter that reads
};

/// The settings of a grid: presets | small | full. Throws InvalidArgument on another word.
std::vector<FrontierSetting> frontier_grid(const std::string& grid);

/// "keep=0.3,key_bits=4,value_bits=4" over the lossless preset; a key "preset" names another. Throws
/// InvalidArgument on an unknown key or a bad value.
FrontierSetting parse_frontier_setting(const std::string& text);

/// `settings` once for each of `readers` ("none" or an adapter's directory); names get " + " and the
/// directory's last part.
std::vector<FrontierSetting> with_readers(const std::vector<FrontierSetting>& settings,
                                          const std::vector<std::string>& readers);

struct FrontierOptions {
  std::string documents;
  std::string questions;
  int64_t limit = 0;  ///< questions, drawn by the seed; 0 = all
  uint64_t seed = 0;
  /// Of the drawn questions' documents those whose number leaves `shard` when divided by `shards`
  int64_t shard = 0;
  int64_t shards = 1;
  std::vector<FrontierSetting> settings;
  std::function<bool()> stop;  ///< asked between documents, true ends the run; may be empty
  /// answers.jsonl lies there and is continued; answers made under another decoder, prompt or codec
  /// than now are measured again
  std::string directory;
  service::Configuration configuration;
};

/// One question under one setting.
struct FrontierAnswer {
  std::string setting;
  std::string question;
  /// Hex: codec with its decoder and prefix, reader, templates, length of answers
  std::string made_under;
  double em = 0;       ///< 0 or 1
  double f1 = 0;       ///< 0 to 1
  double nll = 0;      ///< of the first wanted answer's tokens, nats a token
  double kl = 0;       ///< to the lossless memory over the same tokens, same reader, nats a token
  int64_t bytes = 0;   ///< of the document's record
  int64_t tokens = 0;  ///< of the document
  double first_token_ms = 0;
  double ingest_ms = 0;  ///< reading, observing and keeping the document
};

struct FrontierRow {
  std::string setting;
  std::string reader;  ///< as FrontierSetting
  int64_t questions = 0;
  double em = 0;  ///< percent
  double f1 = 0;
  double f1_low = 0;  ///< 95 % of bootstrap resamples of the questions
  double f1_high = 0;
  double of_text = 0;  ///< f1 in percent of that of "text" with the same reader; 0 without it
  double of_text_low = 0;
  double of_text_high = 0;
  double nll = 0;
  double kl = 0;
  double bytes_per_document = 0;
  double bytes_per_token = 0;
  double share_of_16_bit = 0;  ///< percent of the 16-bit keys and values of all tokens
  double first_token_ms_p50 = 0;
  double ingest_ms_p50 = 0;
};

struct FrontierResult {
  /// Of every setting to every question that all of them have answered
  std::vector<FrontierAnswer> answers;
  int64_t drawn = 0;     ///< questions of the shard
  int64_t answered = 0;  ///< by every setting; fewer than drawn when the run was ended
  double bytes_per_token_16_bit = 0;
  std::string device;
  std::string dtype;
  int64_t threads = 0;
};

/// Measures what answers.jsonl lacks. Throws InvalidArgument when the shard is none of its number.
FrontierResult measure_frontier(const FrontierOptions& options);

/// One row a setting, in their order; resamples are paired: each draws the same questions for all.
std::vector<FrontierRow> summarise_frontier(const std::vector<FrontierSetting>& settings,
                                            const std::vector<FrontierAnswer>& answers,
                                            double bytes_per_token_16_bit);

/// F1 against bytes a document (log axis), colour by ms to the first token; circles for the bare
/// decoder, squares for readers.
std::string plot_frontier(const std::vector<FrontierRow>& rows);

}  // namespace alluvium::experiments
