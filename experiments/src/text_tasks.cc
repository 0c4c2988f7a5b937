#include "text_tasks.h"

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "alluvium/core/sha256.h"
#include "alluvium/streams/line_reader.h"

namespace alluvium::experiments {
namespace {

using nlohmann::json;
using selectors::Sample;

constexpr std::size_t kLineBytes = std::size_t{1} << 24;

std::vector<json> load(const std::string& path) {
  std::vector<json> rows;
  streams::LineReader reader(streams::open_file_input(path), kLineBytes);
  while (const auto line = reader.next()) {
    json row = json::parse(line->text, nullptr, /*allow_exceptions=*/false);
    ALLUVIUM_CHECK(row.is_object() && row.contains("id"), "{}:{}: not a row", path, line->number);
    rows.push_back(std::move(row));
  }
  return rows;
}

void sort_by_sha(std::vector<json>& rows, uint64_t seed) {
  std::vector<std::pair<std::string, std::size_t>> order;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    order.emplace_back(
        to_hex(sha256(std::to_string(seed) + ":" + rows[i].at("id").get<std::string>())), i);
  }
  std::sort(order.begin(), order.end());
  std::vector<json> sorted;
  for (const auto& [key, i] : order) {
    sorted.push_back(std::move(rows[i]));
  }
  rows = std::move(sorted);
}

std::string spaced(std::string label) {
  std::replace(label.begin(), label.end(), '_', ' ');
  return label;
}

Sample finish(const std::string& task, const json& row, std::string document, std::string prompt,
              const std::string& answer) {
  Sample sample;
  sample.id = task + "/" + row.at("id").get<std::string>();
  sample.document = std::move(document);
  sample.prompt = std::move(prompt);
  sample.answer = " " + answer;
  sample.text = sample.document + "\n" + sample.prompt + sample.answer;
  return sample;
}

// Questions over passages that are short enough; documents of the training part are not those of the held-out part.
TextTask reading_task(const std::string& name, const std::string& documents,
                      const std::string& questions, int64_t passage_bytes, uint64_t seed) {
  std::map<std::string, std::string> texts;
  for (const json& row : load(documents)) {
    texts[row.at("id").get<std::string>()] = row.at("text").get<std::string>();
  }
  std::vector<json> rows = load(questions);
  sort_by_sha(rows, seed);
  TextTask task{name, {}, {}};
  for (const json& row : rows) {
    const auto found = texts.find(row.at("doc_id").get<std::string>());
    if (found == texts.end() || std::ssize(found->second) > passage_bytes ||
        row.at("answers").empty()) {
      continue;
    }
    const bool held_out = sha256(found->first)[0] % 4 == 0;
    (held_out ? task.held_out : task.training)
        .push_back(finish(name, row, found->second,
                          "Question: " + row.at("question").get<std::string>() + "\nAnswer:",
                          row.at("answers").at(0).get<std::string>()));
  }
  return task;
}

TextTask label_task(const std::string& name, const std::string& path, const std::string& held_split,
                    uint64_t seed,
                    const std::function<std::pair<std::string, std::string>(const json&)>& ask) {
  std::vector<json> rows = load(path);
  sort_by_sha(rows, seed);
  TextTask task{name, {}, {}};
  for (const json& row : rows) {
    const auto split = row.at("split").get<std::string>();
    if ((split != "train" && split != held_split) || row.at("label") == "oos") {
      continue;
    }
    const auto [prompt, answer] = ask(row);
    (split == "train" ? task.training : task.held_out)
        .push_back(finish(name, row, "", prompt, answer));
  }
  return task;
}

std::string trec_word(const std::string& label) {
  static const std::map<std::string, std::string> kWords = {
      {"ABBR", "abbreviation"}, {"DESC", "description"}, {"ENTY", "entity"},
      {"HUM", "person"},        {"LOC", "place"},        {"NUM", "number"}};
  const auto found = kWords.find(label);
  ALLUVIUM_CHECK(found != kWords.end(), "trec: unknown label '{}'", label);
  return found->second;
}

}  // namespace

std::vector<TextTask> load_text_tasks(const std::string& data, int64_t training, int64_t held_out,
                                      int64_t passage_bytes, uint64_t seed) {
  const auto text = [](const json& row) { return row.at("text").get<std::string>(); };
  const auto label = [](const json& row) { return row.at("label").get<std::string>(); };
  std::vector<TextTask> tasks;
  tasks.push_back(reading_task("squad", data + "/squad/train.docs.jsonl.gz",
                               data + "/squad/train.questions.jsonl.gz", passage_bytes, seed));
  tasks.push_back(reading_task("pysec", data + "/pysec/stream.docs.jsonl.gz",
                               data + "/pysec/stream.questions.jsonl.gz", passage_bytes, seed));
  tasks.push_back(
      label_task("clinc150", data + "/intent/clinc150.jsonl.gz", "val", seed, [&](const json& row) {
        return std::pair("What does the user want? \"" + text(row) + "\"\nIntent:",
                         spaced(label(row)));
      }));
  tasks.push_back(
      label_task("trec", data + "/intent/trec.jsonl.gz", "test", seed, [&](const json& row) {
        return std::pair("What kind of answer does this question ask for? " + text(row) + "\nKind:",
                         trec_word(label(row)));
      }));
  tasks.push_back(
      label_task("hwu64", data + "/intent/hwu64.jsonl.gz", "valid", seed, [&](const json& row) {
        return std::pair("Command to a home assistant: \"" + text(row) + "\"\nAction:",
                         spaced(label(row)));
      }));
  for (TextTask& task : tasks) {
    ALLUVIUM_CHECK(std::ssize(task.training) >= training && std::ssize(task.held_out) >= held_out,
                   "task {} has {} training and {} held-out rows; {} and {} were asked for",
                   task.name, task.training.size(), task.held_out.size(), training, held_out);
    task.training.resize(static_cast<std::size_t>(training));
    task.held_out.resize(static_cast<std::size_t>(held_out));
  }
  return tasks;
}

}  // namespace alluvium::experiments
