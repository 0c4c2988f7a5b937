#include "report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "alluvium/core/clock.h"
#include "alluvium/core/error.h"
#include "source_commit.h"

namespace alluvium::experiments {
namespace {

std::string quote(const std::string& argument) {
  return argument.find_first_of(" \t\"'") == std::string::npos ? argument
                                                               : fmt::format("'{}'", argument);
}

std::string cell(const Row& value) {
  if (value.is_string()) {
    return value.get<std::string>();
  }
  if (value.is_number_float()) {
    const auto number = value.get<double>();
    return fmt::format("{:.{}f}", number, std::abs(number) < 1 ? 4 : 1);
  }
  return value.is_null() ? "" : value.dump();
}

void write_whole(const std::string& path, const std::string& text) {
  const std::string unfinished = path + ".part";
  {
    std::ofstream file(unfinished, std::ios::binary);
    file << text;
    file.flush();
    ALLUVIUM_CHECK(file.good(), "cannot write {}", unfinished);
  }
  std::error_code error;
  std::filesystem::rename(unfinished, path, error);
  ALLUVIUM_CHECK(!error, "cannot write {}: {}", path, error.message());
}

}  // namespace

Row describe_run(const std::string& bench, const std::vector<std::string>& arguments) {
  std::string command = "alluvium bench " + bench;
  for (const std::string& argument : arguments) {
    command += " " + quote(argument);
  }
  return {{"command", command}, {"commit", source_commit()}};
}

std::string now_utc() {
  const std::time_t now = SystemClock().wall_us() / 1000000;
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

std::string to_markdown(const std::vector<Row>& rows) {
  if (rows.empty()) {
    return "";
  }
  std::string names = "|";
  std::string rule = "|";
  for (const auto& [name, value] : rows.front().items()) {
    names += " " + name + " |";
    rule += value.is_number() ? " ---: |" : " --- |";
  }
  std::string table = names + "\n" + rule + "\n";
  for (const Row& row : rows) {
    table += "|";
    for (const auto& [name, unused] : rows.front().items()) {
      table += " " + (row.contains(name) ? cell(row.at(name)) : "") + " |";
    }
    table += "\n";
  }
  return table;
}

std::string to_csv(const std::vector<Row>& rows) {
  std::vector<std::string> names;
  for (const Row& row : rows) {
    for (const auto& [name, unused] : row.items()) {
      if (std::find(names.begin(), names.end(), name) == names.end()) {
        names.push_back(name);
      }
    }
  }
  std::string csv = fmt::format("{}\n", fmt::join(names, ","));
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      const auto found = row.find(names[i]);
      csv += i > 0 ? "," : "";
      csv += found != row.end() && !found->is_null() ? found->dump() : "";
    }
    csv += "\n";
  }
  return csv;
}

void write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.flush();
  ALLUVIUM_CHECK(file.good(), "cannot write {}", path);
}

void write_json(const std::string& path, const Row& report) {
  write_whole(path, report.dump(2) + "\n");
}

void write_json_lines(const std::string& path, const std::vector<Row>& rows) {
  std::string lines;
  for (const Row& row : rows) {
    lines += row.dump(-1, ' ', false, Row::error_handler_t::replace) + "\n";
  }
  write_whole(path, lines);
}

}  // namespace alluvium::experiments
