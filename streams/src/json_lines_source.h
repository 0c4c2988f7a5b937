// Documents of a JSONL input: one JSON object a line, blank lines passed by.
//
// Threads: owned by one thread.
#pragma once

#include <memory>
#include <string>

#include "alluvium/streams/line_reader.h"
#include "alluvium/streams/source.h"

namespace alluvium::streams {

class JsonLinesSource final : public Source {
 public:
  /// `name` stands in envelopes and bad records.
  JsonLinesSource(std::unique_ptr<ByteInput> input, std::string name, const SourceOptions& options);

  std::optional<SourceItem> next() override;
  std::optional<double> progress() const override { return lines_.progress(); }

 private:
  SourceItem read(const Line& line) const;

  std::string name_;
  SourceOptions options_;
  std::size_t line_bytes_;
  LineReader lines_;
};

}  // namespace alluvium::streams
