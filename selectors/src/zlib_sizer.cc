// Sizes by stock zlib.
//
// What is the same as compressing the two texts as one string, and is used here: a reset stream instead of a new one, feeding the two
// texts one after the other, and copying a stream that has read the source. No flush between them: it would add bytes.
#include <algorithm>
#include <array>
#include <utility>

#include <zlib.h>

#include "alluvium/core/error.h"
#include "pair_sizer.h"

namespace alluvium::selectors {
namespace {

constexpr int kRawWindowBits = -15;
constexpr int kMemoryLevel = 8;  // the reference's; 9 gives other sizes

void check(int code, const char* what) {
  if (code == Z_MEM_ERROR) {
    throw ResourceExhausted(fmt::format("zlib has no memory for {}", what));
  }
  ALLUVIUM_ASSERT(code == Z_OK || code == Z_STREAM_END);
}

class Stream {
 public:
  explicit Stream(int64_t level) {
    check(deflateInit2(&stream_, static_cast<int>(level), Z_DEFLATED, kRawWindowBits, kMemoryLevel,
                       Z_DEFAULT_STRATEGY),
          "a stream");
  }
  explicit Stream(Stream& other) { check(deflateCopy(&stream_, &other.stream_), "a stream"); }
  ~Stream() { deflateEnd(&stream_); }
  Stream& operator=(const Stream&) = delete;

  void reset() { check(deflateReset(&stream_), "a stream"); }

  void set_dictionary(std::string_view bytes) {
    check(deflateSetDictionary(&stream_, reinterpret_cast<const Bytef*>(bytes.data()),
                               static_cast<uInt>(bytes.size())),
          "a dictionary");
  }

  void read(std::string_view bytes) { run(bytes, Z_NO_FLUSH); }

  // Bytes of everything read so far and `bytes`.
  int64_t finish(std::string_view bytes) {
    run(bytes, Z_FINISH);
    return static_cast<int64_t>(stream_.total_out);
  }

 private:
  // The output is only counted, so it is overwritten.
  void run(std::string_view bytes, int flush) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());
    int code = Z_OK;
    do {
      stream_.next_out = output_.data();
      stream_.avail_out = static_cast<uInt>(output_.size());
      code = deflate(&stream_, flush);
      ALLUVIUM_ASSERT(code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR);
    } while (flush == Z_FINISH ? code != Z_STREAM_END : stream_.avail_out == 0);
  }

  z_stream stream_{};
  std::array<Bytef, std::size_t{1} << 15> output_;
};

class ZlibSizer final : public DeflateSizer {
 public:
  ZlibSizer(Texts targets, int64_t level, std::size_t copy_from)
      : targets_(std::move(targets)), copy_from_(copy_from), stream_(level), primed_(level) {
    ALLUVIUM_CHECK(level >= 1 && level <= 9,
                   "level of gzip must be in [1, 9], got {} (0 stores and ranks by length)", level);
    if (targets_ != nullptr && !targets_->empty()) {
      primed_.set_dictionary(pooled_dictionary(*targets_));
    }
  }

  int64_t size(std::string_view text) override { return raw_size(text) + kGzipWrapper; }

  int64_t raw_size(std::string_view text) override {
    stream_.reset();
    return stream_.finish(text);
  }

  void joint_sizes(std::string_view source, std::span<int64_t> sizes) override {
    if (source.size() >= copy_from_) {
      stream_.reset();
      stream_.read(source);
      for (std::size_t j = 0; j < sizes.size(); ++j) {
        sizes[j] = Stream(stream_).finish((*targets_)[j]) + kGzipWrapper;
      }
      return;
    }
    for (std::size_t j = 0; j < sizes.size(); ++j) {
      stream_.reset();
      stream_.read(source);
      sizes[j] = stream_.finish((*targets_)[j]) + kGzipWrapper;
    }
  }

  void conditional_sizes(std::string_view source, std::span<int64_t> sizes) override {
    for (std::size_t j = 0; j < sizes.size(); ++j) {
      stream_.reset();
      stream_.set_dictionary((*targets_)[j]);
      sizes[j] = stream_.finish(source);
    }
  }

  int64_t pooled_size(std::string_view source) override { return Stream(primed_).finish(source); }

 private:
  Texts targets_;
  const std::size_t copy_from_;
  Stream stream_;
  Stream primed_;  // has the pooled dictionary and nothing else
};

}  // namespace

std::unique_ptr<DeflateSizer> make_zlib_sizer(Texts targets, int64_t level, std::size_t copy_from) {
  return std::make_unique<ZlibSizer>(std::move(targets), level, copy_from);
}

std::string pooled_dictionary(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) {
    all += text;
  }
  return all.substr(all.size() - std::min(all.size(), kDeflateWindow));
}

}  // namespace alluvium::selectors
