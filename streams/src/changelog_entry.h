// One entry of a Debian changelog and what it says.
//
// Source : deb-changelog(5). Header `source (version) distribution...; key=value, ...`, body
// indented by two spaces, trailer
//          ` -- Name <mail>  RFC 2822 date`.
// Threads: plain data; the functions are thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "alluvium/core/document.h"
#include "alluvium/streams/dates.h"

namespace alluvium::streams {

struct ChangelogEntry {
  std::string source;
  std::string version;
  std::string distribution;  ///< several are kept with a space between
  std::string urgency;       ///< lower case
  bool binary_only = false;  ///< a rebuild without a change of the source
  std::string uploader;      ///< name in the trailer
  MailDate date;
  std::string text;     ///< header, body and trailer as they stand
  int64_t line = 0;     ///< of the header
  std::string problem;  ///< why this is no entry; empty when it is one
};

/// The entry that a header line opens, its date and uploader still empty; nothing when the line is
/// no header.
std::optional<ChangelogEntry> parse_changelog_header(std::string_view line);

/// Fills uploader and date from a trailer line. False when the line is no trailer or its date does
/// not parse.
bool parse_changelog_trailer(std::string_view line, ChangelogEntry& entry);

/// Numbers of the bugs that a text closes ("Closes: #1234, bug 5678"), each once, in order.
std::vector<std::string> closed_bugs(std::string_view text);

/// CVE identifiers in a text, each once, in order.
std::vector<std::string> cve_ids(std::string_view text);

/// id "source/version", title "source version", valid_from the upload; metadata source, version,
/// distribution, urgency, uploader, date (the uploader's calendar day), closes and cve
/// (comma-separated, left out when empty).
Document to_document(const ChangelogEntry& entry, const std::string& name_space);

}  // namespace alluvium::streams
