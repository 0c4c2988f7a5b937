#include "streams/stream_files.h"

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <utility>
#include <variant>

#include <zlib.h>

namespace alluvium::tests {

void write_file(const std::string& path, const std::string& content) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream file(path, std::ios::binary);
  file << content;
  if (!file.flush()) {
    throw std::runtime_error("cannot write " + path);
  }
}

void write_gzip(const std::string& path, const std::string& content) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  gzFile file = gzopen(path.c_str(), "wb");
  const auto size = static_cast<unsigned>(content.size());
  const bool written =
      file != nullptr && gzwrite(file, content.data(), size) == static_cast<int>(size);
  if (file == nullptr || gzclose(file) != Z_OK || !written) {
    throw std::runtime_error("cannot write " + path);
  }
}

std::vector<std::string> Drained::ids() const {
  std::vector<std::string> ids;
  for (const streams::Envelope& envelope : documents) {
    ids.push_back(envelope.document.id);
  }
  return ids;
}

Drained drain(streams::Source& source) {
  Drained drained;
  while (auto item = source.next()) {
    if (auto* envelope = std::get_if<streams::Envelope>(&*item)) {
      drained.documents.push_back(std::move(*envelope));
    } else {
      drained.bad.push_back(std::get<streams::BadRecord>(std::move(*item)));
    }
  }
  return drained;
}

Drained drain_location(const std::string& location, const streams::SourceOptions& options) {
  const auto source = streams::open_source(location, options);
  return drain(*source);
}

}  // namespace alluvium::tests
