// A question's way: candidates, memories, prefix, frozen decoder, answer.
//
// Threads: thread-safe; each call works on its caller's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "alluvium/memory_bank/blend.h"
#include "alluvium/memory_bank/codec.h"
#include "alluvium/memory_bank/memory_cache.h"
#include "alluvium/memory_bank/retriever.h"
#include "alluvium/memory_bank/store.h"
#include "alluvium/service/compose.h"
#include "alluvium/service/configuration.h"
#include "alluvium/service/engine.h"
#include "alluvium/service/refusal.h"

namespace alluvium::service {

using CodecMap = std::map<std::string, std::unique_ptr<memory_bank::Codec>>;

/// What an Answerer works with; referenced objects must outlive it.
struct AnswererContext {
  const Configuration& configuration;
  const Models& models;
  const CodecMap& codecs;
  memory_bank::Store& store;
  memory_bank::Retriever& retriever;
  memory_bank::MemoryCache& cache;
  const ReaderShelf& readers;
  /// Stored chunks may be cut by another tokenizer: compare before use
  bool other_tokenizer = false;
  std::function<void()> memory_missed;  ///< called when a memory that should be stored is not
};

class Answerer {
 public:
  explicit Answerer(AnswererContext context);

  /// As Engine::ask.
  Answer answer(const Question& question, const backbone::TextCallback& on_text) const;

 private:
  struct Request;
  struct Reading;
  struct Context;

  Request check(const Question& question) const;
  std::vector<Reading> choose(const Request& request, Answer& answer) const;
  std::vector<Reading> read_hits(const Request& request) const;
  std::vector<Reading> read_named(const Request& request) const;
  std::optional<Reading> open(const Request& request, int64_t document_row, double score) const;
  std::vector<std::shared_ptr<const memory_bank::Memory>> load(const std::vector<Reading>& readings,
                                                               const memory_bank::Codec*& codec,
                                                               Answer& answer) const;
  static void require_every_row(
      const std::string& compose, const std::vector<Reading>& readings,
      const std::vector<std::shared_ptr<const memory_bank::Memory>>& memories);
  /// The memories of one document, or of several that are all attended to.
  memory_bank::BlendedCache start(
      Compose compose, const memory_bank::Codec& codec, const std::vector<Reading>& readings,
      const std::vector<std::shared_ptr<const memory_bank::Memory>>& memories, int64_t room) const;
  Context attend(const Request& request, const memory_bank::Codec& codec,
                 const LoadedReader* reader, const RefusalRule& rule,
                 const std::vector<Reading>& readings,
                 const std::vector<std::shared_ptr<const memory_bank::Memory>>& memories,
                 Answer& answer) const;
  void read_question(const Request& request, const LoadedReader* reader, const RefusalRule& rule,
                     Context& context, Answer& answer) const;
  static void refuse(const LoadedReader& reader, double probability,
                     const backbone::TextCallback& on_text, Answer& answer);
  backbone::Generation generate(const Request& request, const LoadedReader* reader,
                                const RefusalRule& rule, Context& context,
                                const backbone::TextCallback& on_text, Answer& answer) const;
  std::shared_ptr<const memory_bank::Memory> find_memory(const Reading& reading,
                                                         const Digest& fingerprint) const;

  const AnswererContext context_;
  const std::vector<backbone::TokenId> end_tokens_;
};

}  // namespace alluvium::service
