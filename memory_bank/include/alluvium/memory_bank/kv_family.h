// The kv codec under all its presets at once.
//
// Purpose: the preset of a running service can be switched: new memories are made under the one in
//          force, memories of every preset are attended to. And the quality gate: each memory is
//          measured by what its chunk's own tokens lose, and the chunks that lose most are stored
//          with the next larger preset.
// Source : the gate is that of a repeat pass (KVzip, Kim et al., NeurIPS 2025), over a few tokens.
// Differs: a share of the last thousand chunks is stored richer, not those past a fixed loss, which
//          would mean another thing for every model and preset.
// Threads: thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "alluvium/memory_bank/codec.h"
#include "alluvium/memory_bank/kv_codec.h"

namespace alluvium::memory_bank {

class KvFamily final : public Codec {
 public:
  /// In force are the settings of `context.options`. Throws InvalidArgument as the registry's "kv".
  explicit KvFamily(const CodecContext& context);

  const char* name() const override { return "kv"; }

  /// Of the family: decoder, tokenizer and shared prefix. A member's differs, and is what a memory
  /// that compress() made carries; to_prefix() takes both.
  const Digest& fingerprint() const override { return family_; }
  const Digest& aim() const override { return way().stages->codec().fingerprint(); }
  bool stores_tensors() const override { return true; }

  /// As Codec::compress, with each memory's origin. A chunk whose gap lies among the highest
  /// `richer_share` of the last 1,000 (once 1 / richer_share were measured) is kept with the next
  /// larger preset.
  std::vector<Memory> compress(std::span<const Chunk> chunks) const override;

  using Codec::to_prefix;
  backbone::KvPrefix to_prefix(std::span<const std::shared_ptr<const Memory>> memories,
                               int64_t room, std::optional<PositionScheme> scheme) const override;

  /// Fingerprints of all settings whose memories to_prefix() takes.
  std::vector<Digest> members() const;

  /// Word of the settings in force: a preset, or "custom".
  const std::string& preset() const { return way().word; }

  /// From now on compress() makes memories of this preset, or for "configured" of the settings the
  /// family was made with. Calls in hand finish under the old one. Throws InvalidArgument on an
  /// unknown word.
  void switch_to(const std::string& preset);

  /// Gaps measured in an earlier life under the settings in force, newest first.
  void recall_gaps(const std::vector<double>& newest_first);

 private:
  struct Way {
    std::string word;
    std::string preset;  // the word, or for "custom" the preset whose single settings were changed
    std::unique_ptr<KvStages> stages;
  };

  const Way& way() const { return *current_.load(); }
  const Way* richer_than(const Way& way) const;
  void measure(const Way& way, std::span<const Chunk> chunks,
               std::span<const ObservedReading> readings, std::vector<Memory>& memories) const;
  std::optional<double> worst_bound() const;
  void add_gap(double gap) const;

  const CodecContext context_;
  std::vector<Way> ways_;  // the configured one first; not changed after construction
  std::atomic<const Way*> current_{nullptr};
  Digest family_{};

  mutable std::mutex gaps_mutex_;
  mutable std::deque<double> gaps_;  // of the settings in force, newest last
};

}  // namespace alluvium::memory_bank
