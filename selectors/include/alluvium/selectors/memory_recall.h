// What a memory bank would bring for a sample's prompt: the door through which dg_mem sees a bank.
//
// Threads: owned by the scorer's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "alluvium/backbone/decoder.h"
#include "alluvium/selectors/selector.h"

namespace alluvium::selectors {

/// The same beginning without and with a memory behind it; a prompt is read over either.
struct RecalledContexts {
  backbone::KvCache without;
  backbone::KvCache with;
};

class MemoryRecall {
 public:
  virtual ~MemoryRecall() = default;

  /// Codec and bank: scores of two labels are not compared.
  virtual std::string label() const = 0;

  /// Contexts with room for `room` tokens of prompt and answer. Nothing when the bank has no memory for the prompt.
  virtual std::optional<RecalledContexts> recall(const Sample& sample, int64_t room) = 0;
};

}  // namespace alluvium::selectors
