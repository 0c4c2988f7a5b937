// The data of `alluvium bench selection`.
#include <algorithm>
#include <filesystem>
#include <utility>

#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "alluvium/core/sha256.h"
#include "alluvium/experiments/selection_bench.h"
#include "alluvium/streams/line_reader.h"

namespace alluvium::experiments {
namespace {

using nlohmann::json;

constexpr std::size_t kTargets = 64;
constexpr std::size_t kPassages = 5000;
constexpr std::size_t kLineBytes = std::size_t{1} << 24;

struct SourceFile {
  const char* name;
  const char* path;
  const char* domain;
  const char* split;  // that the targets are drawn from; "" = the file has none
};

constexpr SourceFile kSets[] = {
    {"humaneval", "selection/humaneval_nl.jsonl.gz", "programming", ""},
    {"mbpp", "selection/mbpp_nl.jsonl.gz", "programming", "validation"},
    {"minif2f", "selection/minif2f_informal.jsonl.gz", "mathematics", "valid"},
    {"proofnet", "selection/proofnet_nl.jsonl.gz", "mathematics", "valid"},
};

struct Row {
  std::string id;
  std::string split;
  std::string text;
};

std::string text_of(const json& object) {
  if (object.contains("text")) {
    return object.at("text").get<std::string>();
  }
  return object.at("statement").get<std::string>() + "\n" + object.at("proof").get<std::string>();
}

std::vector<Row> load_rows(const std::string& path) {
  std::vector<Row> rows;
  streams::LineReader reader(streams::open_file_input(path), kLineBytes);
  while (const auto line = reader.next()) {
    const json object = json::parse(line->text, nullptr, /*allow_exceptions=*/false);
    ALLUVIUM_CHECK(object.is_object() && object.contains("id"), "{}:{}: not a row", path,
                   line->number);
    rows.push_back(
        {object.at("id").get<std::string>(), object.value("split", ""), text_of(object)});
  }
  return rows;
}

void sort_by_sha(std::vector<Row>& rows, uint64_t seed) {
  std::vector<std::pair<std::string, Row>> keyed;
  for (Row& row : rows) {
    keyed.emplace_back(to_hex(sha256(std::to_string(seed) + ":" + row.id)), std::move(row));
  }
  std::stable_sort(keyed.begin(), keyed.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  rows.clear();
  for (auto& [key, row] : keyed) {
    rows.push_back(std::move(row));
  }
}

std::string cut(std::string text, int64_t bytes) {
  if (bytes > 0 && static_cast<int64_t>(text.size()) > bytes) {
    auto end = static_cast<std::size_t>(bytes);
    while (end > 0 && (text[end] & '\xc0') == '\x80') {
      --end;
    }
    text.resize(end);
  }
  return text;
}

}  // namespace

SelectionTask load_selection_task(const std::string& data, const std::string& target,
                                  TargetRows rows, uint64_t seed, int64_t cut_bytes) {
  const auto* own = std::find_if(std::begin(kSets), std::end(kSets),
                                 [&](const SourceFile& set) { return set.name == target; });
  ALLUVIUM_CHECK(own != std::end(kSets),
                 "target must be humaneval, mbpp, minif2f or proofnet, got '{}'", target);
  SelectionTask task;
  task.target = target;
  std::vector<std::pair<Row, bool>> pool;
  const auto add = [&](std::vector<Row> list, bool in_domain) {
    for (Row& row : list) {
      row.text = cut(std::move(row.text), cut_bytes);
      if (!row.text.empty()) {
        pool.emplace_back(std::move(row), in_domain);
      }
    }
  };
  for (const SourceFile& set : kSets) {
    std::vector<Row> list = load_rows(data + "/" + set.path);
    if (&set == own) {
      std::vector<Row> split;
      std::vector<Row> others;
      for (Row& row : list) {
        (row.split == set.split ? split : others).push_back(std::move(row));
      }
      sort_by_sha(split, seed);
      const std::size_t begin = std::min(split.size(), rows == TargetRows::report ? 0 : kTargets);
      const std::size_t end = std::min(split.size(), begin + kTargets);
      for (std::size_t i = begin; i < end; ++i) {
        task.targets.push_back(cut(split[i].text, cut_bytes));
      }
      list = std::move(others);
    }
    add(std::move(list), std::string(set.domain) == own->domain);
  }
  const auto add_first = [&](const std::string& path, std::size_t most, const char* split) {
    std::vector<Row> list = load_rows(data + "/" + path);
    std::erase_if(list, [&](const Row& row) { return *split != '\0' && row.split != split; });
    sort_by_sha(list, seed);
    list.resize(std::min(list.size(), most));
    add(std::move(list), false);
  };
  add_first("squad/train.docs.jsonl.gz", kPassages, "");
  add_first("stream/reuters21578.jsonl.gz", kPassages, "");
  add_first("intent/clinc150.jsonl.gz", SIZE_MAX, "train");
  add_first("pysec/stream.docs.jsonl.gz", SIZE_MAX, "");

  std::vector<std::pair<std::string, std::size_t>> order;
  for (std::size_t i = 0; i < pool.size(); ++i) {
    order.emplace_back(to_hex(sha256(std::to_string(seed) + ":" + pool[i].first.id)), i);
  }
  std::sort(order.begin(), order.end());
  for (const auto& [key, i] : order) {
    task.pool.push_back(
        {pool[i].first.id, std::move(pool[i].first.text), static_cast<int64_t>(task.pool.size())});
    task.in_domain.push_back(pool[i].second);
  }
  return task;
}

SelectionTask load_speed_task(const std::string& data, int64_t sources, int64_t targets) {
  SelectionTask task;
  task.target = "humaneval x squad";
  std::vector<Row> passages = load_rows(data + "/squad/train.docs.jsonl.gz");
  std::vector<Row> descriptions = load_rows(data + "/" + kSets[0].path);
  passages.resize(std::min(passages.size(), static_cast<std::size_t>(sources)));
  descriptions.resize(std::min(descriptions.size(), static_cast<std::size_t>(targets)));
  for (Row& row : passages) {
    task.pool.push_back({row.id, std::move(row.text), static_cast<int64_t>(task.pool.size())});
  }
  for (Row& row : descriptions) {
    task.targets.push_back(std::move(row.text));
  }
  task.in_domain.resize(task.pool.size());
  return task;
}

}  // namespace alluvium::experiments
