// A .json file: one object, or an array of objects, each a document.
//
// Cost   : the file is held in memory whole; large inputs are JSONL.
// Threads: owned by one thread.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "alluvium/streams/source.h"

namespace alluvium::streams {

class JsonFileSource final : public Source {
 public:
  /// Parses the file. Throws InvalidArgument when it is neither an object nor an array, or larger
  /// than 256 MiB.
  JsonFileSource(const std::string& path, const SourceOptions& options);

  std::optional<SourceItem> next() override;
  std::optional<int64_t> expected_documents() const override;
  std::optional<double> progress() const override;

 private:
  std::vector<SourceItem> items_;  // line = place in the array, from 1
  std::size_t read_ = 0;
};

}  // namespace alluvium::streams
