// The gate of the ingest stream: which documents become memories at all.
//
// Purpose: a selector judges each new document by its text before the model reads it. What is kept out is kept aside, whole, with its score.
// State  : <directory>/gate.state, written every kSaveEvery judgements and at the end: the scores the quantile is taken of and what the
//          selector learned. After a crash the judgements since then are forgotten; a state of other targets or another selector is not used.
// Threads: owned by the ingest thread; save() after it has ended.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "alluvium/core/document.h"
#include "alluvium/memory_bank/store.h"
#include "alluvium/selectors/selector.h"
#include "alluvium/selectors/stream_gate.h"
#include "alluvium/service/configuration.h"
#include "alluvium/service/engine.h"

namespace alluvium::service {

class IngestGate {
 public:
  static constexpr int64_t kSaveEvery = 1000;

  /// Null when streams.gate is none. Throws InvalidArgument naming the key when the targets are missing or cannot be read.
  static std::unique_ptr<IngestGate> open(const Configuration& configuration, const Models& models);

  /// Why a document is kept out; nothing when it is let through.
  std::optional<memory_bank::GateVerdict> judge(const Document& document);

  /// A state that cannot be written is left for the next time: what is lost then is what a crash would lose.
  void save();

  std::string label() const { return selector_->label(); }

 private:
  IngestGate(const StreamsConfiguration& options, std::string state_path,
             std::unique_ptr<selectors::Selector> selector, selectors::TargetSet targets);

  std::string identity() const;
  void restore();

  const StreamsConfiguration options_;
  const std::string state_path_;
  const std::unique_ptr<selectors::Selector> selector_;
  const selectors::TargetSet targets_;
  std::unique_ptr<selectors::StreamGate> gate_;
  int64_t judged_ = 0;
};

}  // namespace alluvium::service
