// The pool of a selection: lines in batches, some of them samples, some not.
//
// Threads: owned by one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "alluvium/service/selection.h"
#include "alluvium/streams/line_reader.h"

namespace alluvium::service {

/// Throws InvalidArgument naming the field that is missing, empty or of another type. `line` names a row without an id.
selectors::Sample parse_row(const std::string& text, const RowFields& fields, int64_t line);

struct PoolBatch {
  std::vector<selectors::Sample> samples;
  std::vector<std::string> lines;  ///< of the samples
  struct Bad {
    int64_t line;
    std::string reason;
    std::string content;  ///< the first bytes
  };
  std::vector<Bad> bad;
};

class PoolReader {
 public:
  PoolReader(std::unique_ptr<streams::ByteInput> input, const SelectionOptions& options);

  /// At most batch_rows lines or 4 MiB of them; empty lines are passed by. Nothing at the end.
  std::optional<PoolBatch> next();

  /// Reads past the first `lines` lines. Throws InvalidArgument when they are not those that gave `checksum`.
  void skip(int64_t lines, uint32_t checksum);

  int64_t lines() const { return lines_; }
  uint32_t checksum() const { return checksum_; }  ///< CRC-32C over all lines so far
  std::optional<double> progress() const { return reader_.progress(); }

 private:
  std::optional<streams::Line> next_line();

  const SelectionOptions& options_;
  streams::LineReader reader_;
  int64_t lines_ = 0;
  uint32_t checksum_ = 0;
};

}  // namespace alluvium::service
