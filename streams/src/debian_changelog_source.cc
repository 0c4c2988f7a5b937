#include "debian_changelog_source.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <iterator>
#include <set>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>

#include "alluvium/core/error.h"
#include "alluvium/core/utf8.h"
#include "bad_record.h"
#include "changelog_parser.h"

namespace alluvium::streams {
namespace {

namespace fs = std::filesystem;

struct LocatedEntry {
  ChangelogEntry entry;
  std::string file;
};

/// changelog.Debian.gz, changelog.gz of native packages, changelog.Debian.amd64.gz of rebuilds, and
/// the same unpacked.
bool is_changelog_name(std::string name) {
  if (name.ends_with(".gz")) {
    name.resize(name.size() - 3);
  }
  return name == "changelog" || name == "changelog.Debian" || name.starts_with("changelog.Debian.");
}

/// Real paths of all changelogs, each once: many packages link to another package's folder.
std::set<std::string> list_changelogs(const std::string& directory) {
  std::error_code error;
  std::set<std::string> files;
  const auto options = fs::directory_options::skip_permission_denied;
  fs::directory_iterator packages(directory, options, error);
  ALLUVIUM_CHECK(!error, "cannot read folder '{}': {}", directory, error.message());
  for (const fs::directory_entry& package : packages) {
    std::error_code ignored;
    for (const fs::directory_entry& file : fs::directory_iterator(package, options, ignored)) {
      if (is_changelog_name(file.path().filename().string())) {
        const fs::path real = fs::canonical(file.path(), ignored);
        if (!ignored && fs::is_regular_file(real, ignored)) {
          files.insert(real.string());
        }
      }
    }
  }
  return files;
}

/// Changelogs were not always UTF-8: an entry that is not is taken for Latin-1, which every byte
/// fits.
std::string as_utf8(const std::string& text) {
  if (!find_invalid_utf8(text)) {
    return text;
  }
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      result += c;
    } else {
      result += static_cast<char>(0xc0 | (byte >> 6));
      result += static_cast<char>(0x80 | (byte & 0x3f));
    }
  }
  return result;
}

/// Appends the file's entries to `entries`, or says in `bad` why it cannot be read.
void read_file(const std::string& file, std::vector<LocatedEntry>& entries,
               std::vector<SourceItem>& bad) {
  try {
    LineReader lines(open_file_input(file), kChangelogLineBytes);
    auto parsed = parse_changelog(lines);
    if (!parsed) {
      return;
    }
    for (ChangelogEntry& entry : *parsed) {
      if (!entry.binary_only) {
        entry.text = as_utf8(entry.text);
        entry.uploader = as_utf8(entry.uploader);
        entries.push_back({std::move(entry), file});
      }
    }
  } catch (const Error& error) {
    // One unreadable changelog must not hide the others.
    bad.emplace_back(make_bad_record(file, 0, error.what(), ""));
  }
}

/// Whole entries by date, then those with a problem; each (source, version) once, whole where some
/// copy of it is.
void order_entries(std::vector<LocatedEntry>& entries) {
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    const auto key = [](const ChangelogEntry& entry) {
      return std::make_tuple(!entry.problem.empty(), entry.date.time_us, std::cref(entry.source),
                             std::cref(entry.version));
    };
    return key(a.entry) < key(b.entry);
  });
  std::set<std::pair<std::string, std::string>> seen;
  std::erase_if(entries, [&](const LocatedEntry& located) {
    return !seen.emplace(located.entry.source, located.entry.version).second;
  });
}

}  // namespace

DebianChangelogSource::DebianChangelogSource(const std::string& directory,
                                             const SourceOptions& options) {
  std::vector<LocatedEntry> entries;
  std::vector<SourceItem> bad;
  for (const std::string& file : list_changelogs(directory)) {
    read_file(file, entries, bad);
  }
  order_entries(entries);
  const auto whole_end = std::find_if(entries.begin(), entries.end(), [](const auto& located) {
    return !located.entry.problem.empty();
  });
  std::for_each(whole_end, entries.end(), [&](const LocatedEntry& located) {
    bad.emplace_back(make_bad_record(located.file, located.entry.line, located.entry.problem,
                                     located.entry.text));
  });
  entries.erase(whole_end, entries.end());
  const auto count = static_cast<int64_t>(entries.size());
  const int64_t older =
      options.max_documents > 0 ? std::max<int64_t>(0, count - options.max_documents) : 0;
  std::for_each(entries.begin() + older, entries.end(), [&](const LocatedEntry& located) {
    items_.push_back(check_document(to_document(located.entry, options.name_space), located.file,
                                    located.entry.line, options.limits));
  });
  documents_ = std::count_if(items_.begin(), items_.end(), [](const SourceItem& item) {
    return std::holds_alternative<Envelope>(item);
  });
  std::move(bad.begin(), bad.end(), std::back_inserter(items_));
}

std::optional<SourceItem> DebianChangelogSource::next() {
  if (read_ == items_.size()) {
    return std::nullopt;
  }
  return std::move(items_[read_++]);
}

std::optional<int64_t> DebianChangelogSource::expected_documents() const { return documents_; }

std::optional<double> DebianChangelogSource::progress() const {
  return items_.empty() ? 1.0 : static_cast<double>(read_) / static_cast<double>(items_.size());
}

}  // namespace alluvium::streams
