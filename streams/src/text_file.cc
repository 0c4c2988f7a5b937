#include "text_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sys/stat.h>
#include <utility>

#include "alluvium/core/error.h"
#include "bad_record.h"

namespace alluvium::streams {
namespace {

struct stat status_of(const std::string& path) {
  struct stat status {};
  ALLUVIUM_CHECK(::stat(path.c_str(), &status) == 0, "cannot read '{}': {}", path,
                 std::strerror(errno));
  return status;
}

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

}  // namespace

std::string read_whole_file(const std::string& path, std::size_t limit_bytes) {
  const struct stat status = status_of(path);
  ALLUVIUM_CHECK(S_ISREG(status.st_mode), "'{}' is not a file", path);
  ALLUVIUM_CHECK(static_cast<std::size_t>(status.st_size) <= limit_bytes,
                 "text has {} bytes, the limit is {}", status.st_size, limit_bytes);
  std::ifstream file(path, std::ios::binary);
  ALLUVIUM_CHECK(file.is_open(), "cannot read '{}': {}", path, std::strerror(errno));
  std::string content{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (file.bad()) {
    throw Unavailable(fmt::format("reading '{}' failed", path));
  }
  return content;
}

std::optional<std::string> first_heading(std::string_view markdown) {
  bool in_code = false;
  while (!markdown.empty()) {
    const std::size_t end = std::min(markdown.find('\n'), markdown.size());
    const std::string_view line = trim(markdown.substr(0, end));
    markdown.remove_prefix(std::min(end + 1, markdown.size()));
    if (line.starts_with("```") || line.starts_with("~~~")) {
      in_code = !in_code;
    }
    const std::size_t level = std::min(line.find_first_not_of('#'), line.size());
    if (in_code || level < 1 || level > 6 || level == line.size() || line[level] != ' ') {
      continue;
    }
    // A heading may close with the signs that open it.
    std::string_view title = trim(line.substr(level));
    title = trim(title.substr(0, title.find_last_not_of('#') + 1));
    if (!title.empty()) {
      return std::string(title);
    }
  }
  return std::nullopt;
}

SourceItem read_text_file(const std::string& path, const std::string& id,
                          const SourceOptions& options) {
  Document document;
  document.name_space = options.name_space;
  document.id = id;
  try {
    const struct stat status = status_of(path);
    document.valid_from_us =
        int64_t{status.st_mtim.tv_sec} * 1'000'000 + status.st_mtim.tv_nsec / 1000;
    document.text = read_whole_file(path, options.limits.text_bytes);
  } catch (const InvalidArgument& error) {
    return make_bad_record(path, 0, error.what(), "");
  }
  const std::filesystem::path name(path);
  document.title = name.filename().string();
  if (name.extension() == ".md") {
    document.title = first_heading(document.text).value_or(document.title);
  }
  return check_document(std::move(document), path, 0, options.limits);
}

}  // namespace alluvium::streams
