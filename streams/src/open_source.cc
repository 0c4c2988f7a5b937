#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "alluvium/core/error.h"
#include "alluvium/streams/source.h"
#include "debian_changelog_source.h"
#include "directory_source.h"
#include "json_file_source.h"
#include "json_lines_source.h"
#include "limited_source.h"
#include "text_file.h"

namespace alluvium::streams {
namespace {

constexpr std::string_view kChangelogs = "debian-changelogs";
constexpr std::string_view kDebianDocuments = "/usr/share/doc";

/// A source of the one item read from a .txt or .md file.
class SingleItemSource final : public Source {
 public:
  explicit SingleItemSource(SourceItem item) : item_(std::move(item)) {}

  std::optional<SourceItem> next() override { return std::exchange(item_, std::nullopt); }
  std::optional<int64_t> expected_documents() const override { return 1; }
  std::optional<double> progress() const override { return item_ ? 0.0 : 1.0; }

 private:
  std::optional<SourceItem> item_;
};

std::unique_ptr<Source> open_file(const std::string& path, const SourceOptions& options) {
  const std::string name = std::filesystem::path(path).filename().string();
  if (name.ends_with(".jsonl") || name.ends_with(".jsonl.gz")) {
    return std::make_unique<JsonLinesSource>(open_file_input(path), path, options);
  }
  if (name.ends_with(".json")) {
    return std::make_unique<JsonFileSource>(path, options);
  }
  if (name.ends_with(".txt") || name.ends_with(".md")) {
    return std::make_unique<SingleItemSource>(read_text_file(path, name, options));
  }
  throw InvalidArgument(fmt::format(
      "'{}' is of no known kind: .jsonl, .jsonl.gz, .json, .txt, .md or a folder", path));
}

std::unique_ptr<Source> open_unlimited(const std::string& location, const SourceOptions& options) {
  if (location == "-") {
    return std::make_unique<JsonLinesSource>(open_standard_input(), location, options);
  }
  if (location == kChangelogs) {
    return std::make_unique<DebianChangelogSource>(std::string(kDebianDocuments), options);
  }
  if (location.starts_with(kChangelogs) && location[kChangelogs.size()] == ':') {
    return std::make_unique<DebianChangelogSource>(location.substr(kChangelogs.size() + 1),
                                                   options);
  }
  std::error_code error;
  const auto status = std::filesystem::status(location, error);
  ALLUVIUM_CHECK(std::filesystem::exists(status), "there is no '{}'", location);
  if (std::filesystem::is_directory(status)) {
    return std::make_unique<DirectorySource>(location, options);
  }
  return open_file(location, options);
}

}  // namespace

std::unique_ptr<Source> open_source(const std::string& location, const SourceOptions& options) {
  auto source = open_unlimited(location, options);
  if (options.max_documents > 0) {
    return std::make_unique<LimitedSource>(std::move(source), options.max_documents);
  }
  return source;
}

}  // namespace alluvium::streams
