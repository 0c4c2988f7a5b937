#include <algorithm>
#include <map>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/experiments/frontier_bench.h"
#include "percentile.h"

namespace alluvium::experiments {
namespace {

constexpr int64_t kResamples = 2000;
constexpr uint64_t kSeed = 20260101;

/// Draws of question indices, the same for every setting.
std::vector<std::vector<std::size_t>> draw(std::size_t questions) {
  Random random(kSeed);
  std::vector<std::vector<std::size_t>> resamples(kResamples);
  for (auto& resample : resamples) {
    for (std::size_t i = 0; i < questions; ++i) {
      resample.push_back(static_cast<std::size_t>(random.below(questions)));
    }
  }
  return resamples;
}

double mean_over(const std::vector<double>& values, const std::vector<std::size_t>& picked) {
  double sum = 0;
  for (const std::size_t i : picked) {
    sum += values[i];
  }
  return sum / static_cast<double>(picked.size());
}

}  // namespace

std::vector<FrontierRow> summarise_frontier(const std::vector<FrontierSetting>& settings,
                                            const std::vector<FrontierAnswer>& answers,
                                            double bytes_per_token_16_bit) {
  std::map<std::string, std::vector<const FrontierAnswer*>> by_setting;
  for (const FrontierAnswer& answer : answers) {
    by_setting[answer.setting].push_back(&answer);
  }
  const auto column = [&](const std::string& setting, auto member) {
    std::vector<double> values;
    for (const FrontierAnswer* answer : by_setting[setting]) {
      values.push_back(static_cast<double>(answer->*member));
    }
    return values;
  };
  std::vector<FrontierRow> rows;
  if (answers.empty()) {
    return rows;
  }
  std::map<std::string, std::vector<double>> text_of_reader;
  for (const FrontierSetting& setting : settings) {
    if (setting.kind == FrontierSetting::Kind::text) {
      text_of_reader[setting.reader] = column(setting.name, &FrontierAnswer::f1);
    }
  }
  const std::size_t questions = by_setting.at(settings.front().name).size();
  const auto resamples = draw(questions);
  for (const FrontierSetting& setting : settings) {
    const std::vector<double> f1 = column(setting.name, &FrontierAnswer::f1);
    ALLUVIUM_CHECK(f1.size() == questions, "setting '{}' has {} answers, others {}", setting.name,
                   f1.size(), questions);
    const std::vector<double>& text_f1 = text_of_reader[setting.reader];
    FrontierRow& row = rows.emplace_back();
    row.setting = setting.name;
    row.reader = setting.reader;
    row.questions = static_cast<int64_t>(questions);
    row.em = 100 * mean(column(setting.name, &FrontierAnswer::em));
    row.f1 = 100 * mean(f1);
    std::vector<double> resampled;
    std::vector<double> of_text;
    for (const auto& picked : resamples) {
      resampled.push_back(100 * mean_over(f1, picked));
      if (!text_f1.empty()) {
        of_text.push_back(resampled.back() / std::max(mean_over(text_f1, picked), 1e-9));
      }
    }
    row.f1_low = percentile(resampled, 0.025);
    row.f1_high = percentile(resampled, 0.975);
    if (!text_f1.empty()) {
      row.of_text = row.f1 / std::max(mean(text_f1), 1e-9);
      row.of_text_low = percentile(of_text, 0.025);
      row.of_text_high = percentile(of_text, 0.975);
    }
    row.nll = mean(column(setting.name, &FrontierAnswer::nll));
    row.kl = mean(column(setting.name, &FrontierAnswer::kl));
    const double bytes = mean(column(setting.name, &FrontierAnswer::bytes));
    const double tokens = mean(column(setting.name, &FrontierAnswer::tokens));
    row.bytes_per_document = bytes;
    row.bytes_per_token = bytes / tokens;
    row.share_of_16_bit = 100 * row.bytes_per_token / bytes_per_token_16_bit;
    row.first_token_ms_p50 = percentile(column(setting.name, &FrontierAnswer::first_token_ms), 0.5);
    row.ingest_ms_p50 = percentile(column(setting.name, &FrontierAnswer::ingest_ms), 0.5);
  }
  return rows;
}

}  // namespace alluvium::experiments
