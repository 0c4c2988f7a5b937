#include "state_json.h"

#include <cstring>

namespace alluvium::selectors {

using nlohmann::json;

json numbers_to_json(const std::vector<float>& numbers) {
  json::binary_t bytes;
  bytes.resize(numbers.size() * sizeof(float));
  std::memcpy(bytes.data(), numbers.data(), bytes.size());
  return bytes;
}

std::vector<float> numbers_from_json(const json& bytes) {
  const json::binary_t& binary = bytes.get_binary();
  std::vector<float> numbers(binary.size() / sizeof(float));
  std::memcpy(numbers.data(), binary.data(), numbers.size() * sizeof(float));
  return numbers;
}

json rows_to_json(const RowMatrix& rows) {
  return {{"dimension", rows.dimension}, {"values", numbers_to_json(rows.values)}};
}

RowMatrix rows_from_json(const json& saved) {
  RowMatrix rows;
  rows.dimension = saved.at("dimension").get<int64_t>();
  rows.values = numbers_from_json(saved.at("values"));
  const auto numbers = static_cast<int64_t>(rows.values.size());
  if (rows.dimension < 0 || (rows.dimension == 0 ? numbers > 0 : numbers % rows.dimension != 0)) {
    throw DataCorruption(
        fmt::format("state of a selector: {} numbers in rows of {}", numbers, rows.dimension));
  }
  return rows;
}

json outcomes_to_json(const std::map<int64_t, Score>& outcomes) {
  json saved = json::array();
  for (const auto& [arrival, score] : outcomes) {
    saved.push_back({arrival, score.value, static_cast<int>(score.verdict), score.reason});
  }
  return saved;
}

std::map<int64_t, Score> outcomes_from_json(const json& saved) {
  std::map<int64_t, Score> outcomes;
  for (const json& row : saved) {
    const int verdict = row.at(2).get<int>();
    if (verdict < static_cast<int>(Verdict::rank) || verdict > static_cast<int>(Verdict::retire)) {
      throw DataCorruption(fmt::format("state of a selector: verdict {}", verdict));
    }
    outcomes[row.at(0).get<int64_t>()] = {row.at(1).get<double>(), static_cast<Verdict>(verdict),
                                          row.at(3).get<std::string>()};
  }
  return outcomes;
}

}  // namespace alluvium::selectors
