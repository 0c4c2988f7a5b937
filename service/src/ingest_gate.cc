#include "ingest_gate.h"

#include <algorithm>
#include <thread>
#include <utility>

#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "alluvium/selectors/encoder_embedder.h"
#include "alluvium/service/selection.h"
#include "selection_state.h"

namespace alluvium::service {
namespace {

using nlohmann::json;
using selectors::Passage;

std::unique_ptr<selectors::Selector> make_selector(const StreamsConfiguration& options,
                                                   const Models& models, int64_t threads) {
  selectors::SelectorOptions selecting;
  selecting.threads =
      threads > 0 ? threads : std::max<int64_t>(1, std::thread::hardware_concurrency());
  // One exact score for every document: beside reading it, that costs nothing.
  selecting.mode = "ref";
  selecting.length.chunk_bytes = -1;
  selecting.dsir_sample = false;
  if (options.gate == "dedupe") {
    selecting.dedupe_semantic = options.gate_dedupe_semantic;
    selecting.dedupe_capacity = options.gate_dedupe_capacity;
  }
  if (options.gate == "embedding" || selecting.dedupe_semantic > 0) {
    selecting.embedder = selectors::make_encoder_embedder(models.encoder);
  }
  selectors::SelectorRegistry registry("selector");
  selectors::register_selectors(registry);
  return registry.make(options.gate, selecting);
}

}  // namespace

std::unique_ptr<IngestGate> IngestGate::open(const Configuration& configuration,
                                             const Models& models) {
  const StreamsConfiguration& options = configuration.streams;
  if (options.gate == "none") {
    return nullptr;
  }
  auto selector = make_selector(options, models, configuration.models.device.threads);
  selectors::TargetSet targets;
  if (selector->needs_targets()) {
    ALLUVIUM_CHECK(!options.gate_target.empty(), "streams.gate_target is needed by streams.gate {}",
                   options.gate);
    try {
      targets = load_targets(options.gate_target, {});
    } catch (const InvalidArgument& error) {
      throw InvalidArgument(fmt::format("streams.gate_target: {}", error.what()));
    }
    targets.version = options.gate_target_version;
    selector->set_targets(std::make_shared<selectors::TargetSet>(targets));
  }
  std::unique_ptr<IngestGate> gate(new IngestGate(options, configuration.directory + "/gate.state",
                                                  std::move(selector), std::move(targets)));
  gate->restore();
  return gate;
}

IngestGate::IngestGate(const StreamsConfiguration& options, std::string state_path,
                       std::unique_ptr<selectors::Selector> selector, selectors::TargetSet targets)
    : options_(options),
      state_path_(std::move(state_path)),
      selector_(std::move(selector)),
      targets_(std::move(targets)),
      gate_(std::make_unique<selectors::StreamGate>(
          *selector_, selectors::StreamGateOptions{.quantile = options_.gate_quantile,
                                                   .window = options_.gate_window,
                                                   .warm_up = options_.gate_warm_up})) {}

std::optional<memory_bank::GateVerdict> IngestGate::judge(const Document& document) {
  const selectors::Sample sample{.id = document.id, .text = document.text, .arrival = judged_};
  const Passage passage = gate_->judge({&sample, 1}).front();
  ++judged_;
  if (judged_ % kSaveEvery == 0) {
    save();
  }
  if (passage.outcome == Passage::Outcome::admitted) {
    return std::nullopt;
  }
  return memory_bank::GateVerdict{.selector = selector_->label(),
                                  .target_version = targets_.version,
                                  .score = passage.score,
                                  .reason = passage.reason};
}

// Scores of different targets, or of differently made ones, do not compare.
std::string IngestGate::identity() const {
  return fmt::format("{}; {}", selector_->label(), target_identity(targets_));
}

void IngestGate::save() try {
  const std::string learned = selector_->save();
  write_selection_state(state_path_,
                        {{"identity", identity()},
                         {"judged", judged_},
                         {"gate", window_to_json(gate_->window())},
                         {"selector", json::binary({learned.begin(), learned.end()})}});
} catch (const Unavailable&) {
}

void IngestGate::restore() try {
  const auto state = read_selection_state(state_path_);
  if (!state || state->at("identity").get<std::string>() != identity()) {
    return;
  }
  const json::binary_t& learned = state->at("selector").get_binary();
  selector_->restore({reinterpret_cast<const char*>(learned.data()), learned.size()});
  gate_->restore(window_from_json(state->at("gate")));
  judged_ = state->at("judged").get<int64_t>();
} catch (const json::exception& error) {
  throw DataCorruption(fmt::format("'{}': {}; remove it to start anew", state_path_, error.what()));
}

}  // namespace alluvium::service
