// What every result says about itself, and its forms: JSON and CSV for machines, a Markdown table for
// people.
//
// Threads: thread-compatible.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace alluvium::experiments {

/// A table whose rows keep their order of columns.
using Row = nlohmann::ordered_json;

/// Command line, commit of the source, device, threads, dtype.
Row describe_run(const std::string& bench, const std::vector<std::string>& arguments);

/// The time now, e.g. "2026-11-26T07:00:00Z".
std::string now_utc();

/// Rows as a Markdown table; columns are those of the first row, numbers rounded to 4 significant
/// digits or 1 decimal.
std::string to_markdown(const std::vector<Row>& rows);

/// Rows as CSV; columns are those of all rows in order of appearance, strings quoted, nulls empty.
std::string to_csv(const std::vector<Row>& rows);

/// Throws InvalidArgument when the file cannot be written.
void write_text(const std::string& path, const std::string& text);

/// Writes `report` to `path`, complete or not at all. Throws InvalidArgument when it cannot.
void write_json(const std::string& path, const Row& report);

/// The same for one object a line.
void write_json_lines(const std::string& path, const std::vector<Row>& rows);

}  // namespace alluvium::experiments
