#include "directory_source.h"

#include <algorithm>
#include <system_error>

#include "alluvium/core/error.h"
#include "text_file.h"

namespace alluvium::streams {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> list_text_files(const fs::path& directory) {
  std::error_code error;
  fs::recursive_directory_iterator entries(directory, fs::directory_options::skip_permission_denied,
                                           error);
  ALLUVIUM_CHECK(!error, "cannot read folder '{}': {}", directory.string(), error.message());
  std::vector<std::string> ids;
  for (const fs::recursive_directory_iterator end; entries != end; entries.increment(error)) {
    const fs::path& path = entries->path();
    if (path.filename().string().starts_with('.')) {
      entries.disable_recursion_pending();
      continue;
    }
    std::error_code ignored;
    if ((path.extension() == ".txt" || path.extension() == ".md") &&
        entries->is_regular_file(ignored)) {
      ids.push_back(path.lexically_relative(directory).generic_string());
    }
  }
  if (error) {
    throw Unavailable(fmt::format("listing '{}' failed: {}", directory.string(), error.message()));
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

}  // namespace

DirectorySource::DirectorySource(const std::string& directory, const SourceOptions& options)
    : directory_(directory), options_(options), ids_(list_text_files(directory_)) {}

std::optional<SourceItem> DirectorySource::next() {
  if (read_ == ids_.size()) {
    return std::nullopt;
  }
  const std::string& id = ids_[read_++];
  return read_text_file((directory_ / id).string(), id, options_);
}

std::optional<int64_t> DirectorySource::expected_documents() const {
  return static_cast<int64_t>(ids_.size());
}

std::optional<double> DirectorySource::progress() const {
  return ids_.empty() ? 1.0 : static_cast<double>(read_) / static_cast<double>(ids_.size());
}

}  // namespace alluvium::streams
