// Compressed sizes of a source, of the targets, and of a source followed by each target.
//
// Purpose: the C(.) of ZIP-FIT for each compressor, through its library.
// Threads: a PairSizer is owned by one thread; the targets are shared.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace alluvium::selectors {

using Texts = std::shared_ptr<const std::vector<std::string>>;

class PairSizer {
 public:
  virtual ~PairSizer() = default;

  /// C(text): bytes with the compressor's wrapper.
  virtual int64_t size(std::string_view text) = 0;

  /// sizes[j] = C(source followed by target j, nothing between); one entry a target.
  virtual void joint_sizes(std::string_view source, std::span<int64_t> sizes) = 0;
};

/// Joint sizes of libraries that only take a text whole: source and target are laid behind each other.
class WholeTextSizer : public PairSizer {
 public:
  explicit WholeTextSizer(Texts targets) : targets_(std::move(targets)) {}

  void joint_sizes(std::string_view source, std::span<int64_t> sizes) final {
    // The source stays in place; each target takes the place of the one before.
    joint_.assign(source);
    for (std::size_t j = 0; j < sizes.size(); ++j) {
      joint_.resize(source.size());
      joint_ += (*targets_)[j];
      sizes[j] = size(joint_);
    }
  }

 private:
  Texts targets_;
  std::string joint_;
};

/// Sizes without a wrapper, alone and with all targets as the dictionary. Owned by one thread.
class PooledSizer {
 public:
  virtual ~PooledSizer() = default;

  /// D(text): bytes of the raw stream.
  virtual int64_t raw_size(std::string_view text) = 0;

  /// D(source | all targets in one dictionary, in their order; of more than 32 KiB the last).
  virtual int64_t pooled_size(std::string_view source) = 0;
};

/// Raw deflate besides: no wrapper, and with what came before as a dictionary.
class DeflateSizer : public PairSizer, public PooledSizer {
 public:
  /// sizes[j] = D(source | target j as the dictionary).
  virtual void conditional_sizes(std::string_view source, std::span<int64_t> sizes) = 0;
};

/// What gzip adds to a raw stream: 10 bytes before, CRC-32 and length behind.
constexpr int64_t kGzipWrapper = 18;

/// deflate finds matches at most this far back: 32 KiB less its look-ahead.
constexpr std::size_t kDeflateWindow = 32768;

/// Copying a deflate stream moves 268 kB; for a source below this many bytes reading it again is cheaper.
constexpr std::size_t kCopyFrom = 8192;

/// Stock zlib. level 1 to 9. `copy_from`: sources of as many bytes are read once and their stream is copied for each target, shorter ones
/// are read again; no size depends on it.
std::unique_ptr<DeflateSizer> make_zlib_sizer(Texts targets, int64_t level,
                                              std::size_t copy_from = kCopyFrom);

/// The LZ4 frame with its content size, acceleration 1.
std::unique_ptr<PairSizer> make_lz4_sizer(Texts targets);

/// LZ4 blocks, acceleration 1.
std::unique_ptr<PooledSizer> make_lz4_pool_sizer(const Texts& targets);

/// The zstd frame with its content size, no checksum. level 1 to 22.
std::unique_ptr<PairSizer> make_zstd_sizer(Texts targets, int64_t level);

/// All texts in one string, cut to the last 32 KiB: the dictionary of pooled_size().
std::string pooled_dictionary(const std::vector<std::string>& texts);

}  // namespace alluvium::selectors
