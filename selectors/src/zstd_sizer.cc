// Sizes by libzstd.
#include <utility>
#include <vector>
#include <zstd.h>

#include "alluvium/core/error.h"
#include "pair_sizer.h"

namespace alluvium::selectors {
namespace {

struct FreeContext {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};

class ZstdSizer final : public WholeTextSizer {
 public:
  ZstdSizer(Texts targets, int64_t level)
      : WholeTextSizer(std::move(targets)),
        level_(static_cast<int>(level)),
        context_(ZSTD_createCCtx()) {
    ALLUVIUM_CHECK(level >= 1 && level <= ZSTD_maxCLevel(),
                   "level of zstd must be in [1, {}], got {}", ZSTD_maxCLevel(), level);
    if (context_ == nullptr) {
      throw ResourceExhausted("zstd has no memory for a context");
    }
  }

  int64_t size(std::string_view text) override {
    output_.resize(ZSTD_compressBound(text.size()));
    const std::size_t bytes = ZSTD_compressCCtx(context_.get(), output_.data(), output_.size(),
                                                text.data(), text.size(), level_);
    ALLUVIUM_ASSERT(ZSTD_isError(bytes) == 0);
    return static_cast<int64_t>(bytes);
  }

 private:
  int level_;
  std::unique_ptr<ZSTD_CCtx, FreeContext> context_;
  std::vector<char> output_;
};

}  // namespace

std::unique_ptr<PairSizer> make_zstd_sizer(Texts targets, int64_t level) {
  return std::make_unique<ZstdSizer>(std::move(targets), level);
}

}  // namespace alluvium::selectors
