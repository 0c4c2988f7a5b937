// Evicted rows that join the likest kept row: d2o and ems.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>

#include "alluvium/core/random.h"
#include "kv/merge_alike.h"
#include "kv/settings.h"
#include "stored_memory.h"
#include "support/catch.h"

namespace alluvium::tests {
namespace {

using Catch::Matchers::WithinAbs;
using memory_bank::KeptRows;
using memory_bank::MergedRows;

/// One layer and head of two channels, which rotation turns by an angle of t.
at::Tensor rows_of_two(std::vector<float> numbers) {
  const auto n = static_cast<int64_t>(numbers.size()) / 2;
  return at::from_blob(numbers.data(), {1, 1, n, 2}, at::kFloat).clone();
}

at::Tensor scores_of(std::vector<float> numbers) {
  return at::from_blob(numbers.data(), {1, 1, static_cast<int64_t>(numbers.size())}, at::kFloat)
      .clone();
}

KeptRows kept(std::vector<int64_t> positions) {
  KeptRows rows;
  rows.counts = {static_cast<int64_t>(positions.size())};
  rows.positions =
      at::from_blob(positions.data(), {rows.counts[0]}, at::TensorOptions().dtype(at::kLong))
          .clone();
  return rows;
}

const backbone::Rope& rope_of_two() {
  static const backbone::Rope rope(2, 1e4, 100);
  return rope;
}

/// A key that stands at angle `degrees` where the text has it at position t.
std::vector<float> standing(const std::vector<double>& degrees,
                            const std::vector<double>& lengths) {
  std::vector<float> keys;
  for (std::size_t t = 0; t < degrees.size(); ++t) {
    const double before = degrees[t] * M_PI / 180 - static_cast<double>(t);
    keys.push_back(static_cast<float>(lengths[t] * std::cos(before)));
    keys.push_back(static_cast<float>(lengths[t] * std::sin(before)));
  }
  return keys;
}

void check_row(const at::Tensor& row, double x, double y) {
  CHECK_THAT(row[0].item<double>(), WithinAbs(x, 1e-5));
  CHECK_THAT(row[1].item<double>(), WithinAbs(y, 1e-5));
}

/// What a merged key is where it stands.
at::Tensor rotated(const MergedRows& merged, int64_t t) {
  return rope_of_two().rotate(merged.keys[0][0].narrow(0, t, 1),
                              at::full({1}, t, at::TensorOptions().dtype(at::kLong)))[0];
}

}  // namespace

// Kept at 0 and 90 degrees (tokens 0 and 3). Token 1 at 30 degrees: cosine to the first .866025; token 2 at
// 200 degrees: to the second cos 110 = -.342020. Their mean is .262003: only token 1 joins, with weight
// exp(.866025) = 2.377442 against e. Key (e + 2.377442 (.866025, .5)) / (e + 2.377442) = (.937497, .233283),
// value (e 2 + 2.377442 * 6) / 5.095724 = 3.866224.
TEST_CASE("merge: d2o by hand", "[memory_bank][kv][merge]") {
  const at::Tensor keys = rows_of_two(standing({0, 30, 200, 90}, {1, 1, 1, 1}));
  const at::Tensor values = rows_of_two({2, 0, 6, 0, 50, 50, 0, 1});
  const MergedRows merged = memory_bank::merge_d2o(keys, values, kept({0, 3}), rope_of_two());
  check_row(rotated(merged, 0), 0.937497, 0.233283);
  check_row(merged.values[0][0][0], 3.866224, 0);
  CHECK(same_bits(merged.keys[0][0][3], keys[0][0][3]));
  CHECK(same_bits(merged.values[0][0][3], values[0][0][3]));
}

// Kept at 0 and 90 degrees with lengths 2 and 1; token 1 at 30 degrees (cosine .866 >= .6) joins the first with
// its score, 1 against 3: the mean of (2, 0) and 4 (.866025, .5) is (2.366025, .5), of length 2.418279, and gets
// length 2: (1.956784, .413518). Token 2 at 135 + 45 = 180 degrees is like neither and is lost.
TEST_CASE("merge: ems by hand", "[memory_bank][kv][merge]") {
  const at::Tensor keys = rows_of_two(standing({0, 30, 180, 90}, {2, 4, 1, 1}));
  const at::Tensor values = rows_of_two({2, 0, 6, 0, 50, 50, 0, 1});
  const MergedRows merged =
      memory_bank::merge_ems(keys, values, kept({0, 3}), scores_of({3, 1, 9, 2}), rope_of_two());
  check_row(rotated(merged, 0), 1.956784, 0.413518);
  check_row(merged.values[0][0][0], 3, 0);
  CHECK(same_bits(merged.keys[0][0][3], keys[0][0][3]));
  CHECK(same_bits(merged.values[0][0][3], values[0][0][3]));
  // Without a score of its own a row adds nothing, and a centre without one keeps itself.
  const MergedRows without =
      memory_bank::merge_ems(keys, values, kept({0, 3}), scores_of({0, -1, 9, 2}), rope_of_two());
  check_row(rotated(without, 0), 2, 0);
  check_row(without.values[0][0][0], 2, 0);
}

namespace {

constexpr int64_t kRows = 30;
constexpr int64_t kWidth = 8;

using Row = std::vector<double>;

double product(const Row& a, const Row& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

double length(const Row& row) { return std::sqrt(product(row, row)); }

/// Channel c turns with c + width / 2 by t * 1e4^(-2 c / width), the other way for a negative t.
Row turned(const Row& row, int64_t t) {
  Row out(row.size());
  const std::size_t half = row.size() / 2;
  for (std::size_t c = 0; c < half; ++c) {
    const double angle =
        static_cast<double>(t) * std::pow(1e4, -static_cast<double>(c) / static_cast<double>(half));
    out[c] = row[c] * std::cos(angle) - row[c + half] * std::sin(angle);
    out[c + half] = row[c + half] * std::cos(angle) + row[c] * std::sin(angle);
  }
  return out;
}

Row row_of(const at::Tensor& tensor, int64_t slot, int64_t row) {
  const auto* first = tensor.const_data_ptr<float>() + (slot * kRows + row) * kWidth;
  return {first, first + kWidth};
}

void add(Row& sum, const Row& row, double weight) {
  for (std::size_t c = 0; c < sum.size(); ++c) {
    sum[c] += weight * row[c];
  }
}

void check_near(const Row& a, const Row& b) {
  for (std::size_t c = 0; c < a.size(); ++c) {
    REQUIRE_THAT(a[c], WithinAbs(b[c], 2e-4));
  }
}

struct Rows {
  at::Tensor keys;
  at::Tensor values;
  at::Tensor scores;  // [slots, rows]

  double score(int64_t slot, int64_t row) const {
    return std::max(static_cast<double>(scores.const_data_ptr<float>()[slot * kRows + row]), 0.0);
  }
};

/// A slot's merged rows, the slow obvious way.
void check_slot(const std::string& word, const Rows& rows, int64_t slot,
                const std::vector<int64_t>& own, const MergedRows& merged) {
  struct Best {
    int64_t row;
    int64_t target;
    double cosine;
  };
  const auto there = [&](int64_t row) { return turned(row_of(rows.keys, slot, row), row); };
  std::vector<Best> best;
  double sum = 0;
  for (int64_t row = 0; row < kRows; ++row) {
    if (std::find(own.begin(), own.end(), row) == own.end()) {
      Best b{row, 0, -2};
      for (const int64_t target : own) {
        const double cosine =
            product(there(row), there(target)) / (length(there(row)) * length(there(target)));
        b = cosine > b.cosine ? Best{row, target, cosine} : b;
      }
      best.push_back(b);
      sum += b.cosine;
    }
  }
  const bool d2o = word == "d2o";
  const double threshold = d2o ? sum / static_cast<double>(best.size()) : 0.6;
  for (const int64_t target : own) {
    double total = d2o ? std::exp(1.0) : std::max(rows.score(slot, target), 1e-12);
    Row key(kWidth);
    Row value(kWidth);
    add(key, there(target), total);
    add(value, row_of(rows.values, slot, target), total);
    for (const Best& b : best) {
      if (b.target == target && b.cosine >= threshold) {
        const double weight = d2o ? std::exp(b.cosine) : rows.score(slot, b.row);
        add(key, there(b.row), weight);
        add(value, row_of(rows.values, slot, b.row), weight);
        total += weight;
      }
    }
    const double scale = d2o ? 1 / total : length(there(target)) / length(key);
    std::for_each(key.begin(), key.end(), [&](double& x) { x *= scale; });
    std::for_each(value.begin(), value.end(), [&](double& x) { x /= total; });
    check_near(row_of(merged.keys, slot, target), turned(key, -target));
    check_near(row_of(merged.values, slot, target), value);
  }
}

}  // namespace

TEST_CASE(
    "merge: d2o and ems merge as the slow obvious way does, and nothing where nothing is evicted",
    "[memory_bank][kv][merge][property]") {
  const std::string word = GENERATE("d2o", "ems");
  CAPTURE(word);
  constexpr int64_t kSlots = 4;
  const backbone::Rope rope(kWidth, 1e4, kRows);
  Random random(11);
  const auto draw = [&](at::IntArrayRef sizes) {
    at::Tensor numbers = at::empty(sizes, at::kFloat);
    auto* number = numbers.mutable_data_ptr<float>();
    for (int64_t i = 0; i < numbers.numel(); ++i) {
      number[i] = static_cast<float>(random.normal());
    }
    return numbers;
  };
  const Rows rows{draw({2, 2, kRows, kWidth}), draw({2, 2, kRows, kWidth}), draw({2, 2, kRows})};
  KeptRows chosen;
  std::vector<int64_t> positions;
  for (int64_t slot = 0; slot < kSlots; ++slot) {
    chosen.counts.push_back(6 + slot);
    for (int64_t i = 0; i < 6 + slot; ++i) {
      positions.push_back(3 * i + slot % 3);
    }
  }
  chosen.positions = at::tensor(positions, at::kLong);
  const auto merge = [&](const KeptRows& of) {
    return merge_rows(word, rows.keys, rows.values, of, {.scores = rows.scores, .rope = &rope});
  };
  CHECK(same_bits(merge({}).keys, rows.keys));
  const MergedRows merged = merge(chosen);
  auto own = positions.begin();
  for (int64_t slot = 0; slot < kSlots; ++slot) {
    const auto end = own + chosen.counts[static_cast<std::size_t>(slot)];
    check_slot(word, rows, slot, {own, end}, merged);
    own = end;
  }
}

}  // namespace alluvium::tests
