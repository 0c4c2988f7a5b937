// Who says which rows of a chunk matter, without knowing any question.
//
// Purpose: one score for each row of each layer and KV head; higher is kept longer. The parts are
//          small classes, chosen by the word codec.observer.
// Threads: immutable.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/decoder.h"
#include "alluvium/backbone/tokenizer.h"
#include "alluvium/core/random.h"
#include "alluvium/memory_bank/codec.h"
#include "alluvium/memory_bank/kv_codec.h"

namespace alluvium::memory_bank {

/// What an observer works with; referenced objects must outlive it.
struct ObserverContext {
  const backbone::Decoder& decoder;
  const backbone::Tokenizer& tokenizer;
  const SharedPrefix& prefix;
};

/// A chunk that has just been read behind the shared prefix.
struct ObservedChunk {
  std::span<const backbone::TokenId> tokens;
  const backbone::ReadResult* read = nullptr;  ///< keys and values; queries if asked for
  backbone::KvCache* cache = nullptr;          ///< holds prefix and chunk; left as it was found
};

class Observer {
 public:
  virtual ~Observer() = default;

  /// Whether the chunk's read must return its queries.
  virtual bool needs_queries() const { return false; }

  /// Slots that score() needs in a cache behind prefix and chunk.
  virtual int64_t room(int64_t /*chunk_tokens*/) const { return 0; }

  /// Scores of each chunk, in order.
  virtual std::vector<RowScores> score(std::span<const ObservedChunk> chunks) const = 0;
};

/// The words of codec.observer, in the order of what they cost, dearest first.
const std::vector<std::string>& observer_names();

/// Throws InvalidArgument on an unknown word.
std::unique_ptr<Observer> make_observer(const std::string& name, const ObserverContext& context);

/// Numbers that the chunk's tokens alone decide: the same chunk is observed in the same way.
Random seeded_by(std::span<const backbone::TokenId> tokens);

// The makers of each, for make_observer().
std::unique_ptr<Observer> make_repeat_observer(const ObserverContext& context);
std::unique_ptr<Observer> make_expected_attention_observer(const ObserverContext& context);
std::unique_ptr<Observer> make_tail_observer(const ObserverContext& context);
std::unique_ptr<Observer> make_h2o_observer(const ObserverContext& context);
std::unique_ptr<Observer> make_zipcache_observer(const ObserverContext& context);
std::unique_ptr<Observer> make_keydiff_observer(const ObserverContext& context);
std::unique_ptr<Observer> make_random_observer();

}  // namespace alluvium::memory_bank
