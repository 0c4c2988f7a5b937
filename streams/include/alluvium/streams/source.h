// Sources: where documents come from.
//
// Purpose: one pull interface over files, standard input, directories and the machine's own Debian
// changelogs. Threads: a Source belongs to one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "alluvium/core/document.h"

namespace alluvium::streams {

/// One document on its way, and where it came from.
struct Envelope {
  Document document;
  std::string source;  ///< file path, or "-" for standard input
  int64_t line = 0;    ///< 1-based line or array place in it; 0 when the source has neither
};

/// Input that is not a document. The stream goes on after it. Every field is valid UTF-8, whatever
/// the input was.
struct BadRecord {
  std::string source;
  int64_t line = 0;
  std::string reason;   ///< names the field and the bound
  std::string content;  ///< the first 4,096 bytes, malformed sequences replaced by U+FFFD
};

using SourceItem = std::variant<Envelope, BadRecord>;

class Source {
 public:
  virtual ~Source() = default;

  /// The next document or bad record; nothing at the end. Throws Unavailable when reading itself
  /// fails (I/O error, damaged gzip).
  virtual std::optional<SourceItem> next() = 0;

  /// Documents in the whole source when that is known cheaply (for a progress bar); nothing
  /// otherwise.
  virtual std::optional<int64_t> expected_documents() const { return std::nullopt; }

  /// Share of the input's bytes read so far, in [0, 1]; nothing when the size is unknown (standard
  /// input).
  virtual std::optional<double> progress() const { return std::nullopt; }
};

struct SourceOptions {
  std::string name_space = "default";  ///< of documents that name none
  DocumentLimits limits;
  int64_t max_documents =
      0;  ///< 0 = all; of Debian changelogs the newest, of anything else the first
};

/// Opens a source by what it is: "-" (JSONL on standard input), "debian-changelogs" or
/// "debian-changelogs:DIR" (DIR instead of /usr/share/doc), a directory (.txt and .md files,
/// recursive, sorted), or a .jsonl / .jsonl.gz / .json / .txt / .md file. Throws InvalidArgument
/// naming the path when there is no such thing or its kind is unknown.
std::unique_ptr<Source> open_source(const std::string& location, const SourceOptions& options = {});

}  // namespace alluvium::streams
