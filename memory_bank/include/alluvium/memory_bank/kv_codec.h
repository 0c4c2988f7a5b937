// The kv codec in its two steps, for those who make many memories of one reading.
//
// Purpose: observe() costs the decoder one or two readings, keep() costs none. A comparison of
//          settings reads each chunk once and keeps it in every way.
// Threads: immutable; calls may run on many threads.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/memory_bank/codec.h"

namespace alluvium::memory_bank {

/// What an observer says of a chunk's rows.
struct RowScores {
  /// float32 [layers, kv_heads, n] on the CPU, higher is kept longer; undefined: not observed, every
  /// row is kept
  at::Tensor scores;
  /// The chunk's last rows that are kept whatever their score, as far as they take no more than half
  /// of what is kept
  int64_t protected_tail = 0;
};

/// A chunk that has been read.
struct ObservedReading {
  at::Tensor keys;  ///< [layers, kv_heads, n, head_dim] pre-RoPE, compute dtype
  at::Tensor values;
  RowScores rows;
  /// float32 [layers, kv_heads, head_dim] on the CPU: mean square of the queries of the chunk and of a
  /// head's group, by channel; undefined: queries were not read
  at::Tensor query_energy;
};

class KvStages {
 public:
  virtual ~KvStages() = default;

  /// The whole: its memories are the ones keep() makes.
  virtual const Codec& codec() const = 0;

  /// The observer asked; "none" when nothing is evicted.
  virtual const std::string& observer() const = 0;

  /// Whether queries are asked, to leave out key channels.
  virtual bool reads_queries() const = 0;

  /// Whether keep() takes what `other`, over the same decoder and prefix, has observed.
  bool takes_readings_of(const KvStages& other) const {
    return (observer() == "none" || observer() == other.observer()) &&
           (!reads_queries() || other.reads_queries());
  }

  /// Readings of the chunks in order, all in one batch.
  virtual std::vector<ObservedReading> observe(std::span<const Chunk> chunks) const = 0;

  /// The memory that compress() would make. Throws NumericError when a number cannot be stored, and
  /// InvalidArgument when queries were not read that are asked.
  virtual Memory keep(const Chunk& chunk, const ObservedReading& reading) const = 0;
};

/// Of the registry's "kv" with the same context.
std::unique_ptr<KvStages> make_kv_stages(const CodecContext& context);

}  // namespace alluvium::memory_bank
