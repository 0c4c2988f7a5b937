#include "changelog_parser.h"

#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace alluvium::streams {
namespace {

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t") == std::string_view::npos;
}

/// Collects lines into entries; what stands between a trailer and the next header is passed by.
class EntryCollector {
 public:
  void add(const Line& line) {
    if (auto header = parse_changelog_header(line.text)) {
      close("the trailer line is missing");
      open_ = std::move(*header);
      open_->line = line.number;
      open_->text = line.text;
    } else if (open_) {
      extend(line.text);
    }
  }

  std::vector<ChangelogEntry> finish() {
    close("the trailer line is missing");
    return std::move(entries_);
  }

 private:
  void extend(const std::string& line) {
    open_->text += '\n';
    open_->text += line;
    if (line.starts_with(" --")) {
      const bool whole = parse_changelog_trailer(line, *open_);
      close(whole ? ""
                  : fmt::format("the trailer line holds no name, mail and date: '{}'",
                                line.substr(0, 200)));
    }
  }

  void close(std::string problem) {
    if (open_) {
      open_->problem = std::move(problem);
      entries_.push_back(std::move(*open_));
      open_.reset();
    }
  }

  std::optional<ChangelogEntry> open_;
  std::vector<ChangelogEntry> entries_;
};

}  // namespace

std::optional<std::vector<ChangelogEntry>> parse_changelog(LineReader& lines) {
  EntryCollector collector;
  bool first = true;
  while (const auto line = lines.next()) {
    if (first && is_blank(line->text)) {
      continue;
    }
    if (first && !parse_changelog_header(line->text)) {
      return std::nullopt;
    }
    first = false;
    collector.add(*line);
  }
  return collector.finish();
}

}  // namespace alluvium::streams
