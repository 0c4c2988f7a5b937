#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "selection_training.h"

namespace alluvium::experiments {
namespace {

// Two-sided 95 % of Student's t, by degrees of freedom.
double student_t(std::size_t freedom) {
  constexpr double kTable[] = {0,     12.706, 4.303, 3.182, 2.776, 2.571,
                               2.447, 2.365,  2.306, 2.262, 2.228};
  return freedom < std::size(kTable) ? kTable[freedom] : 1.96;
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) {
    sum += value;
  }
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

// Half the width of the 95 % interval of the mean; nothing of one value.
std::optional<double> interval_of(const std::vector<double>& values) {
  if (values.size() < 2) {
    return std::nullopt;
  }
  const double mean = mean_of(values);
  double squares = 0;
  for (const double value : values) {
    squares += (value - mean) * (value - mean);
  }
  const auto n = static_cast<double>(values.size());
  return student_t(values.size() - 1) * std::sqrt(squares / (n - 1) / n);
}

std::vector<std::string> tasks_of(const Row& row) {
  std::vector<std::string> tasks;
  for (const auto& [name, unused] : row.items()) {
    if (name.rfind("nll_", 0) == 0) {
      tasks.push_back(name.substr(4));
    }
  }
  return tasks;
}

double likelihood(const Row& row, const std::string& task) {
  return 100 * std::exp(-row.at("nll_" + task).get<double>());
}

struct Outcomes {
  std::vector<double> gain;
  std::vector<double> forgetting;
  std::vector<double> score;
  std::vector<double> accuracy;
  std::vector<double> selection_s;
  std::vector<double> training_s;
  double tokens = 0;
};

void add_range(Row& row, const std::string& name, const std::vector<double>& values) {
  row[name] = mean_of(values);
  row[name + "_low"] = *std::min_element(values.begin(), values.end());
  row[name + "_high"] = *std::max_element(values.begin(), values.end());
}

}  // namespace

std::vector<Row> summarise_sequence(const std::vector<Row>& rows) {
  // steps of (arm, share, seed), in order
  std::map<std::tuple<std::string, double, uint64_t>, std::vector<const Row*>> runs;
  for (const Row& row : rows) {
    runs[{row.at("arm").get<std::string>(), row.at("share").get<double>(),
          row.at("seed").get<uint64_t>()}]
        .push_back(&row);
  }
  std::map<uint64_t, std::map<std::string, double>> best_sequential;
  for (const auto& [key, steps] : runs) {
    if (std::get<0>(key) == "sequential") {
      for (const Row* step : steps) {
        for (const std::string& task : tasks_of(*step)) {
          double& best = best_sequential[std::get<2>(key)][task];
          best = std::max(best, likelihood(*step, task));
        }
      }
    }
  }
  std::map<std::pair<std::string, double>, Outcomes> groups;
  for (const auto& [key, steps] : runs) {
    Outcomes& group = groups[{std::get<0>(key), std::get<1>(key)}];
    const std::vector<std::string> tasks = tasks_of(*steps.back());
    std::vector<double> gains;
    std::vector<double> scores;
    std::vector<double> accuracies;
    std::vector<double> drops;
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      scores.push_back(likelihood(*steps.back(), tasks[t]));
      accuracies.push_back(steps.back()->at("accuracy_" + tasks[t]).get<double>());
      const auto best = best_sequential.find(std::get<2>(key));
      if (best != best_sequential.end()) {
        gains.push_back(100 * scores.back() / best->second.at(tasks[t]));
      }
      // Task t comes with step t.
      double highest = 0;
      for (std::size_t s = t; s < steps.size(); ++s) {
        const double now = likelihood(*steps[s], tasks[t]);
        if (s > t) {
          drops.push_back(100 * (highest - now) / highest);
        }
        highest = std::max(highest, now);
      }
    }
    double selection_s = 0;
    double training_s = 0;
    for (const Row* step : steps) {
      selection_s += step->at("selection_s").get<double>();
      training_s += step->at("training_s").get<double>();
      group.tokens += step->at("tokens").get<double>();
    }
    if (!gains.empty()) {
      group.gain.push_back(mean_of(gains));
    }
    group.forgetting.push_back(mean_of(drops));
    group.score.push_back(mean_of(scores));
    group.accuracy.push_back(mean_of(accuracies));
    group.selection_s.push_back(selection_s);
    group.training_s.push_back(training_s);
  }
  std::vector<Row> table;
  for (const auto& [key, group] : groups) {
    Row row = {{"arm", key.first}, {"share", key.second}, {"seeds", group.score.size()}};
    if (!group.gain.empty()) {
      add_range(row, "relative_gain", group.gain);
    }
    add_range(row, "forgetting", group.forgetting);
    add_range(row, "likelihood_score", group.score);
    add_range(row, "accuracy", group.accuracy);
    row["tokens_trained"] = group.tokens / static_cast<double>(group.score.size());
    row["selection_s"] = mean_of(group.selection_s);
    row["training_s"] = mean_of(group.training_s);
    table.push_back(std::move(row));
  }
  return table;
}

std::vector<Row> summarise_target(const std::vector<Row>& rows) {
  std::map<std::tuple<std::string, int64_t, std::string>, std::map<uint64_t, const Row*>> groups;
  for (const Row& row : rows) {
    groups[{row.at("target").get<std::string>(), row.at("budget_tokens").get<int64_t>(),
            row.at("selector").get<std::string>()}][row.at("seed").get<uint64_t>()] = &row;
  }
  std::vector<Row> table;
  for (const auto& [key, by_seed] : groups) {
    const auto& [target, budget, selector] = key;
    const auto baseline = groups.find({target, budget, "length_matched_random"});
    std::vector<double> losses;
    std::vector<double> gains;
    double in_domain = 0;
    double picks = 0;
    double selection_s = 0;
    double training_s = 0;
    const auto n = static_cast<double>(by_seed.size());
    for (const auto& [seed, row] : by_seed) {
      losses.push_back(row->at("nll").get<double>());
      in_domain += row->at("in_domain").get<double>() / n;
      picks += row->at("picks").get<double>() / n;
      selection_s += row->at("selection_s").get<double>() / n;
      training_s += row->at("training_s").get<double>() / n;
      if (baseline != groups.end()) {
        if (const auto found = baseline->second.find(seed); found != baseline->second.end()) {
          gains.push_back(found->second->at("nll").get<double>() - losses.back());
        }
      }
    }
    Row row = {{"target", target},
               {"budget_tokens", budget},
               {"selector", selector},
               {"seeds", losses.size()}};
    add_range(row, "nll", losses);
    row["below_length_matched"] = gains.empty() ? Row() : Row(mean_of(gains));
    const std::optional<double> half = interval_of(gains);
    row["interval_95"] = half ? Row(*half) : Row();
    row["in_domain"] = in_domain;
    row["picks"] = picks;
    row["selection_s"] = selection_s;
    row["training_s"] = training_s;
    table.push_back(std::move(row));
  }
  return table;
}

}  // namespace alluvium::experiments
