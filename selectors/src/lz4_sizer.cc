// Sizes by liblz4.
//
// A frame's size is 23 bytes and its block, which is stored when LZ4 does not shrink it; an empty frame has 11. Texts over 64 KiB have
// several linked blocks: those go through the frame functions.
#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#define LZ4_STATIC_LINKING_ONLY  // LZ4_compress_fast_extState_fastReset, LZ4_attach_dictionary
#include <lz4.h>
#include <lz4frame.h>

#include "alluvium/core/error.h"
#include "pair_sizer.h"

namespace alluvium::selectors {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{64} << 10;
constexpr int64_t kFrameBytes = 23;
constexpr int64_t kEmptyFrameBytes = 11;
constexpr int kAcceleration = 1;

class Lz4Sizer final : public WholeTextSizer {
 public:
  explicit Lz4Sizer(Texts targets)
      : WholeTextSizer(std::move(targets)),
        state_(static_cast<std::size_t>(LZ4_sizeofState()) / sizeof(uint64_t) + 1),
        output_(static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(kBlockBytes)))) {
    LZ4_initStream(state_.data(), state_.size() * sizeof(uint64_t));
  }

  int64_t size(std::string_view text) override {
    if (text.empty()) {
      return kEmptyFrameBytes;
    }
    return text.size() <= kBlockBytes ? one_block(text) : many_blocks(text);
  }

 private:
  int64_t one_block(std::string_view text) {
    const int block = LZ4_compress_fast_extState_fastReset(
        state_.data(), text.data(), output_.data(), static_cast<int>(text.size()),
        static_cast<int>(output_.size()), kAcceleration);
    ALLUVIUM_ASSERT(block > 0);
    return kFrameBytes + std::min<int64_t>(block, static_cast<int64_t>(text.size()));
  }

  int64_t many_blocks(std::string_view text) {
    LZ4F_preferences_t preferences{};
    preferences.frameInfo.contentSize = text.size();
    frame_.resize(LZ4F_compressFrameBound(text.size(), &preferences));
    const std::size_t bytes =
        LZ4F_compressFrame(frame_.data(), frame_.size(), text.data(), text.size(), &preferences);
    ALLUVIUM_ASSERT(LZ4F_isError(bytes) == 0);
    return static_cast<int64_t>(bytes);
  }

  std::vector<uint64_t> state_;
  std::vector<char> output_;
  std::vector<char> frame_;
};

// The dictionary's table is made once and only referred to by each text's stream.
class Lz4PoolSizer final : public PooledSizer {
 public:
  explicit Lz4PoolSizer(const std::vector<std::string>& targets)
      : dictionary_(pooled_dictionary(targets)),
        prepared_(LZ4_createStream()),
        stream_(LZ4_createStream()) {
    ALLUVIUM_ASSERT(prepared_ != nullptr && stream_ != nullptr);
    LZ4_loadDict(prepared_.get(), dictionary_.data(), static_cast<int>(dictionary_.size()));
  }

  int64_t raw_size(std::string_view text) override { return size(text, nullptr); }
  int64_t pooled_size(std::string_view text) override { return size(text, prepared_.get()); }

 private:
  struct Free {
    void operator()(LZ4_stream_t* stream) const { LZ4_freeStream(stream); }
  };
  using Stream = std::unique_ptr<LZ4_stream_t, Free>;

  int64_t size(std::string_view text, const LZ4_stream_t* dictionary) {
    ALLUVIUM_CHECK(text.size() <= LZ4_MAX_INPUT_SIZE, "a text of {} bytes is too long for LZ4",
                   text.size());
    const auto bytes = static_cast<int>(text.size());
    const auto bound = static_cast<std::size_t>(LZ4_compressBound(bytes));
    output_.resize(std::max(output_.size(), bound));
    LZ4_resetStream_fast(stream_.get());
    LZ4_attach_dictionary(stream_.get(), dictionary);
    const int block = LZ4_compress_fast_continue(stream_.get(), text.data(), output_.data(), bytes,
                                                 static_cast<int>(bound), kAcceleration);
    ALLUVIUM_ASSERT(block > 0);
    return block;
  }

  const std::string dictionary_;
  Stream prepared_;
  Stream stream_;
  std::vector<char> output_;
};

}  // namespace

std::unique_ptr<PooledSizer> make_lz4_pool_sizer(const Texts& targets) {
  return std::make_unique<Lz4PoolSizer>(*targets);
}

std::unique_ptr<PairSizer> make_lz4_sizer(Texts targets) {
  return std::make_unique<Lz4Sizer>(std::move(targets));
}

}  // namespace alluvium::selectors
