// Files and sources for the tests of streams.
#pragma once

#include <string>
#include <vector>

#include "alluvium/streams/source.h"

namespace alluvium::tests {

/// Writes `content` to `path`, making its folder first.
void write_file(const std::string& path, const std::string& content);

/// The same, gzip-packed.
void write_gzip(const std::string& path, const std::string& content);

/// Everything a source gives, in order.
struct Drained {
  std::vector<streams::Envelope> documents;
  std::vector<streams::BadRecord> bad;

  std::vector<std::string> ids() const;
};

Drained drain(streams::Source& source);

/// Opens `location` and drains it.
Drained drain_location(const std::string& location, const streams::SourceOptions& options = {});

}  // namespace alluvium::tests
