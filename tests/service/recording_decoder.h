// A decoder that remembers which tokens were read, in front of a real one.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "alluvium/backbone/decoder.h"

namespace alluvium::tests {

class RecordingDecoder final : public backbone::Decoder {
 public:
  explicit RecordingDecoder(std::shared_ptr<const backbone::Decoder> inner)
      : inner_(std::move(inner)) {}

  /// Tokens of each request that was read since the last call, in order.
  std::vector<std::vector<backbone::TokenId>> take() const {
    const std::lock_guard lock(mutex_);
    return std::exchange(read_, {});
  }

  std::vector<backbone::ReadResult> read(
      std::span<const backbone::ReadRequest> requests) const override {
    {
      const std::lock_guard lock(mutex_);
      for (const backbone::ReadRequest& request : requests) {
        read_.emplace_back(request.tokens.begin(), request.tokens.end());
      }
    }
    return inner_->read(requests);
  }

  std::vector<int64_t> repair(const backbone::RepairRequest& request) const override {
    {
      const std::lock_guard lock(mutex_);
      read_.emplace_back(request.tokens.begin(), request.tokens.end());
    }
    return inner_->repair(request);
  }

  backbone::RecomputedRows recompute(const backbone::RecomputeRequest& request) const override {
    {
      const std::lock_guard lock(mutex_);
      auto& tokens = read_.emplace_back();
      for (const int64_t row : request.rows) {
        tokens.push_back(request.tokens[static_cast<std::size_t>(row)]);
      }
    }
    return inner_->recompute(request);
  }

  const backbone::DecoderGeometry& geometry() const override { return inner_->geometry(); }
  const backbone::DevicePolicy& policy() const override { return inner_->policy(); }
  int64_t cheap_rows() const override { return inner_->cheap_rows(); }
  const Digest& fingerprint() const override { return inner_->fingerprint(); }
  const Digest& model() const override { return inner_->model(); }
  backbone::KvCache start(const backbone::KvPrefix& prefix, int64_t room) const override {
    return inner_->start(prefix, room);
  }
  std::shared_ptr<const backbone::Adapter> prepare(
      const backbone::AdapterState& state) const override {
    return inner_->prepare(state);
  }
  at::Tensor negative_log_likelihood(std::span<const backbone::ScoredSequence> sequences,
                                     const backbone::AdapterState& adapter,
                                     const backbone::AdapterDropout& dropout,
                                     backbone::ScoredTrace* trace) const override {
    return inner_->negative_log_likelihood(sequences, adapter, dropout, trace);
  }
  Digest hash_weights() const override { return inner_->hash_weights(); }

 private:
  const std::shared_ptr<const backbone::Decoder> inner_;
  mutable std::mutex mutex_;
  mutable std::vector<std::vector<backbone::TokenId>> read_;
};

}  // namespace alluvium::tests
