// A source that ends after so many documents; bad records on the way do not count.
//
// Threads: owned by one thread.
#pragma once

#include <cstdint>
#include <memory>

#include "alluvium/streams/source.h"

namespace alluvium::streams {

class LimitedSource final : public Source {
 public:
  LimitedSource(std::unique_ptr<Source> source, int64_t max_documents);

  std::optional<SourceItem> next() override;
  std::optional<int64_t> expected_documents() const override;
  std::optional<double> progress() const override;

 private:
  std::unique_ptr<Source> source_;
  int64_t max_documents_;
  int64_t documents_ = 0;
};

}  // namespace alluvium::streams
