#include "limited_source.h"

#include <algorithm>
#include <utility>

namespace alluvium::streams {

LimitedSource::LimitedSource(std::unique_ptr<Source> source, int64_t max_documents)
    : source_(std::move(source)), max_documents_(max_documents) {}

std::optional<SourceItem> LimitedSource::next() {
  if (documents_ == max_documents_) {
    return std::nullopt;
  }
  auto item = source_->next();
  documents_ += item && std::holds_alternative<Envelope>(*item) ? 1 : 0;
  return item;
}

std::optional<int64_t> LimitedSource::expected_documents() const {
  const auto all = source_->expected_documents();
  return all ? std::min(*all, max_documents_) : all;
}

std::optional<double> LimitedSource::progress() const {
  const double by_count = static_cast<double>(documents_) / static_cast<double>(max_documents_);
  return std::max(by_count, source_->progress().value_or(0.0));
}

}  // namespace alluvium::streams
