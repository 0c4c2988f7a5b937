#include "changelog_entry.h"

#include <algorithm>

#include <fmt/format.h>

namespace alluvium::streams {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](char c) { return lower(c); });
  return result;
}

bool is_package_character(char c) {
  return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || c == '+' || c == '.' || c == '-' ||
         c == '_' || c == '~';
}

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  return first == std::string_view::npos
             ? std::string_view()
             : text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// The comma-separated `key=value` pairs after the header's semicolon.
void read_settings(std::string_view settings, ChangelogEntry& entry) {
  while (!settings.empty()) {
    const std::size_t end = std::min(settings.find(','), settings.size());
    const std::string_view setting = trim(settings.substr(0, end));
    settings.remove_prefix(std::min(end + 1, settings.size()));
    const std::size_t equals = setting.find('=');
    if (equals == std::string_view::npos) {
      continue;
    }
    const std::string key = lower(trim(setting.substr(0, equals)));
    const std::string value = lower(trim(setting.substr(equals + 1)));
    if (key == "urgency") {
      // Old entries comment on it: "urgency=low (high for users of diald)".
      entry.urgency = value.substr(0, value.find(' '));
    } else if (key == "binary-only") {
      entry.binary_only = value == "yes";
    }
  }
}

std::size_t skip_blanks(std::string_view text, std::size_t at) {
  return std::min(text.find_first_not_of(" \t\n", at), text.size());
}

/// Digits from `at` on.
std::string_view digits_at(std::string_view text, std::size_t at) {
  std::size_t end = at;
  while (end < text.size() && is_digit(text[end])) {
    ++end;
  }
  return text.substr(at, end - at);
}

void append_once(std::vector<std::string>& items, std::string item) {
  if (std::find(items.begin(), items.end(), item) == items.end()) {
    items.push_back(std::move(item));
  }
}

}  // namespace

std::optional<ChangelogEntry> parse_changelog_header(std::string_view line) {
  const auto name_end = std::find_if_not(line.begin(), line.end(), is_package_character);
  const auto name_size = static_cast<std::size_t>(name_end - line.begin());
  const std::string_view rest = line.substr(name_size);
  const std::size_t close = rest.find(')');
  if (name_size == 0 || !rest.starts_with(" (") || close == std::string_view::npos) {
    return std::nullopt;
  }
  const std::string_view version = rest.substr(2, close - 2);
  const std::size_t semicolon = rest.find(';', close);
  if (version.empty() || version.find_first_of(" \t(") != std::string_view::npos ||
      semicolon == std::string_view::npos) {
    return std::nullopt;
  }
  ChangelogEntry entry;
  entry.source = line.substr(0, name_size);
  entry.version = version;
  entry.distribution = trim(rest.substr(close + 1, semicolon - close - 1));
  read_settings(rest.substr(semicolon + 1), entry);
  return entry.distribution.empty() ? std::nullopt : std::optional(std::move(entry));
}

bool parse_changelog_trailer(std::string_view line, ChangelogEntry& entry) {
  const std::size_t mail = line.rfind('<');
  const std::size_t mail_end = line.rfind('>');
  if (!line.starts_with(" -- ") || mail == std::string_view::npos ||
      mail_end == std::string_view::npos || mail_end < mail) {
    return false;
  }
  const auto date = parse_mail_date(trim(line.substr(mail_end + 1)));
  if (!date) {
    return false;
  }
  entry.uploader = trim(line.substr(4, mail - 4));
  entry.date = *date;
  return true;
}

std::vector<std::string> closed_bugs(std::string_view text) {
  static constexpr std::string_view kCloses = "closes:";
  const std::string folded = lower(text);
  const std::string_view view = folded;
  std::vector<std::string> bugs;
  for (std::size_t at = view.find(kCloses); at != std::string_view::npos;
       at = view.find(kCloses, at)) {
    at += kCloses.size();
    bool more = true;
    while (more) {
      std::size_t next = skip_blanks(view, at);
      if (view.substr(next).starts_with("bug")) {
        next = skip_blanks(view, next + 3);
      }
      if (next < view.size() && view[next] == '#') {
        next = skip_blanks(view, next + 1);
      }
      const std::string_view number = digits_at(view, next);
      if (number.empty()) {
        break;
      }
      append_once(bugs, std::string(number));
      at = next + number.size();
      const std::size_t comma = skip_blanks(view, at);
      more = comma < view.size() && view[comma] == ',';
      at = more ? comma + 1 : at;
    }
  }
  return bugs;
}

std::vector<std::string> cve_ids(std::string_view text) {
  static constexpr std::string_view kPrefix = "CVE-";
  std::vector<std::string> ids;
  for (std::size_t at = text.find(kPrefix); at != std::string_view::npos;
       at = text.find(kPrefix, at)) {
    at += kPrefix.size();
    const std::string_view year = digits_at(text, at);
    const std::size_t dash = at + year.size();
    if (year.size() != 4 || dash >= text.size() || text[dash] != '-') {
      continue;
    }
    const std::string_view number = digits_at(text, dash + 1);
    if (number.size() >= 4 && number.size() <= 7) {
      append_once(ids, fmt::format("{}{}-{}", kPrefix, year, number));
    }
  }
  return ids;
}

Document to_document(const ChangelogEntry& entry, const std::string& name_space) {
  Document document;
  document.name_space = name_space;
  document.id = entry.source + "/" + entry.version;
  document.title = entry.source + " " + entry.version;
  document.text = entry.text;
  document.valid_from_us = entry.date.time_us;
  document.metadata = {{"source", entry.source},
                       {"version", entry.version},
                       {"distribution", entry.distribution},
                       {"urgency", entry.urgency},
                       {"uploader", entry.uploader},
                       {"date", entry.date.day}};
  if (const auto bugs = closed_bugs(entry.text); !bugs.empty()) {
    document.metadata["closes"] = fmt::format("{}", fmt::join(bugs, ","));
  }
  if (const auto cves = cve_ids(entry.text); !cves.empty()) {
    document.metadata["cve"] = fmt::format("{}", fmt::join(cves, ","));
  }
  return document;
}

}  // namespace alluvium::streams
