// The .txt and .md files of a folder and the folders below it, as documents.
//
// Purpose: id = path relative to the folder, in the order of these ids.
// Differs: names that begin with a dot, and links to folders, are left out.
// Threads: owned by one thread.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "alluvium/streams/source.h"

namespace alluvium::streams {

class DirectorySource final : public Source {
 public:
  /// Lists the files. Throws InvalidArgument when `directory` cannot be read.
  DirectorySource(const std::string& directory, const SourceOptions& options);

  std::optional<SourceItem> next() override;
  std::optional<int64_t> expected_documents() const override;
  std::optional<double> progress() const override;

 private:
  std::filesystem::path directory_;
  SourceOptions options_;
  std::vector<std::string> ids_;
  std::size_t read_ = 0;
};

}  // namespace alluvium::streams
