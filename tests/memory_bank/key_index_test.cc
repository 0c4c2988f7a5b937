#include "alluvium/memory_bank/key_index.h"

#include <algorithm>
#include <map>
#include <set>

#include "alluvium/core/error.h"
#include "bank_fixtures.h"
#include "support/catch.h"
#include "tiered_index.h"

namespace alluvium::tests {
namespace {

using Catch::Matchers::WithinAbs;
using memory_bank::HnswOptions;
using memory_bank::KeyHit;
using memory_bank::KeyIndex;
using memory_bank::make_exact_index;
using memory_bank::make_hnsw_index;
using memory_bank::make_tiered_index;

constexpr int64_t kDimension = 24;

/// The index as everybody would write it first.
class PlainIndex {
 public:
  void add(int64_t row, std::vector<float> keys) { keys_[row] = std::move(keys); }
  void remove(int64_t row) { keys_.erase(row); }

  double score(const std::vector<float>& query, int64_t row) const {
    const std::vector<float>& keys = keys_.at(row);
    double best = -1;
    for (std::size_t first = 0; first < keys.size(); first += kDimension) {
      double sum = 0;
      for (int64_t i = 0; i < kDimension; ++i) {
        sum += static_cast<double>(query[i]) * static_cast<double>(keys[first + i]);
      }
      best = std::max(best, sum);
    }
    return best;
  }

  std::vector<int64_t> nearest(const std::vector<float>& query, std::size_t limit) const {
    std::vector<std::pair<double, int64_t>> ranked;
    for (const auto& [row, keys] : keys_) {
      ranked.emplace_back(-score(query, row), row);
    }
    std::sort(ranked.begin(), ranked.end());
    ranked.resize(std::min(limit, ranked.size()));
    std::vector<int64_t> rows;
    for (const auto& [negative, row] : ranked) {
      rows.push_back(row);
    }
    return rows;
  }

  std::size_t documents() const { return keys_.size(); }

 private:
  std::map<int64_t, std::vector<float>> keys_;
};

/// Random adds, replacements and removals, the same on both.
void shuffle_documents(Random& random, KeyIndex& index, PlainIndex& plain, int steps) {
  for (int step = 0; step < steps; ++step) {
    const auto row = static_cast<int64_t>(1 + random.below(300));
    if (random.below(4) == 0) {
      index.remove(row);
      plain.remove(row);
    } else {
      const auto keys = random_keys(random, 1 + static_cast<int64_t>(random.below(5)), kDimension);
      index.add(row, keys);
      plain.add(row, keys);
    }
  }
}

/// Share of the plain index's ten nearest that the other one finds too.
double measure_recall(Random& random, const KeyIndex& index, const PlainIndex& plain) {
  double found = 0;
  double wanted = 0;
  for (int query_number = 0; query_number < 50; ++query_number) {
    const auto query = random_keys(random, 1, kDimension);
    std::set<int64_t> rows;
    for (const KeyHit& hit : index.search(query, 10)) {
      rows.insert(hit.document_row);
    }
    for (const int64_t row : plain.nearest(query, 10)) {
      wanted += 1;
      found += static_cast<double>(rows.count(row));
    }
  }
  return found / wanted;
}

std::vector<std::unique_ptr<KeyIndex>> every_index(int64_t dimension) {
  std::vector<std::unique_ptr<KeyIndex>> indexes;
  indexes.push_back(make_exact_index(dimension));
  indexes.push_back(make_hnsw_index(dimension));
  indexes.push_back(make_tiered_index(dimension, 3));
  return indexes;
}

}  // namespace

TEST_CASE("key index: a document scores its best key", "[memory_bank][index]") {
  for (const auto& index : every_index(2)) {
    index->add(7, std::vector<float>{1, 0, 0, 1});
    index->add(5, std::vector<float>{0.6F, 0.8F});
    index->add(9, std::vector<float>{-1, 0});
    const std::vector<float> query = {0, 1};
    const auto hits = index->search(query, 10);
    REQUIRE(hits.size() == 3);
    CHECK(hits[0].document_row == 7);
    CHECK_THAT(hits[0].score, WithinAbs(1.0, 1e-6));
    CHECK(hits[1].document_row == 5);
    CHECK_THAT(hits[1].score, WithinAbs(0.8, 1e-6));
    CHECK_THAT(hits[2].score, WithinAbs(0.0, 1e-6));
    const std::vector<int64_t> rows = {9, 8, 7};
    const auto scores = index->score(query, rows);
    REQUIRE(scores.size() == 3);
    CHECK_THAT(scores[0], WithinAbs(0.0, 1e-6));
    CHECK(scores[1] == -1.0);
    CHECK_THAT(scores[2], WithinAbs(1.0, 1e-6));
    CHECK(index->search(query, 1).size() == 1);
    CHECK(index->search(query, 0).empty());
    CHECK(index->documents() == 3);
    CHECK(index->keys() == 4);
  }
}

TEST_CASE("key index: equal scores go to the lower row", "[memory_bank][index]") {
  for (const auto& index : every_index(2)) {
    for (const int64_t row : {9, 3, 6}) {
      index->add(row, std::vector<float>{1, 0});
    }
    const auto hits = index->search(std::vector<float>{1, 0}, 10);
    REQUIRE(hits.size() == 3);
    CHECK(hits[0].document_row == 3);
    CHECK(hits[1].document_row == 6);
    CHECK(hits[2].document_row == 9);
  }
}

TEST_CASE("key index: empty and emptied indexes find nothing", "[memory_bank][index]") {
  for (const auto& index : every_index(2)) {
    const std::vector<float> query = {1, 0};
    CHECK(index->search(query, 5).empty());
    index->remove(1);
    index->add(1, query);
    index->remove(1);
    CHECK(index->search(query, 5).empty());
    CHECK(index->documents() == 0);
    CHECK(index->keys() == 0);
    index->add(2, query);
    CHECK(index->search(query, 5).size() == 1);
  }
}

TEST_CASE("key index: keys and queries of a wrong size are refused", "[memory_bank][index]") {
  for (const auto& index : every_index(2)) {
    CHECK_THROWS_AS(index->add(1, std::vector<float>{1, 0, 0}), InvalidArgument);
    CHECK_THROWS_AS(index->add(1, std::vector<float>{}), InvalidArgument);
    CHECK_THROWS_AS(index->search(std::vector<float>{1}, 5), InvalidArgument);
  }
  CHECK_THROWS_AS(make_exact_index(0), InvalidArgument);
  CHECK_THROWS_AS(make_hnsw_index(-1), InvalidArgument);
}

TEST_CASE("key index: exact search agrees with the plain one through every change",
          "[memory_bank][index][property]") {
  const auto seed = GENERATE(range(0U, 10U));
  CAPTURE(seed);
  Random random(seed);
  const auto index = make_exact_index(kDimension);
  PlainIndex plain;
  shuffle_documents(random, *index, plain, 500);
  CHECK(index->documents() == static_cast<int64_t>(plain.documents()));
  for (int query_number = 0; query_number < 20; ++query_number) {
    const auto query = random_keys(random, 1, kDimension);
    const auto hits = index->search(query, 10);
    const auto expected = plain.nearest(query, 10);
    REQUIRE(hits.size() == expected.size());
    for (std::size_t i = 0; i < hits.size(); ++i) {
      CHECK_THAT(hits[i].score, WithinAbs(plain.score(query, expected[i]), 1e-5));
    }
  }
}

TEST_CASE("key index: the graph and the tiers find what exact search finds",
          "[memory_bank][index][property]") {
  const auto seed = GENERATE(range(0U, 5U));
  CAPTURE(seed);
  HnswOptions options;
  options.initial_capacity = 16;  // grows several times
  SECTION("graph") {
    Random random(seed);
    const auto index = make_hnsw_index(kDimension, options);
    PlainIndex plain;
    shuffle_documents(random, *index, plain, 800);
    CHECK(index->documents() == static_cast<int64_t>(plain.documents()));
    CHECK(measure_recall(random, *index, plain) > 0.97);
  }
  SECTION("tiers") {
    Random random(seed);
    const auto index = make_tiered_index(kDimension, 200, options);
    PlainIndex plain;
    shuffle_documents(random, *index, plain, 800);
    CHECK(index->documents() == static_cast<int64_t>(plain.documents()));
    CHECK(measure_recall(random, *index, plain) > 0.97);
  }
}

TEST_CASE("key index: a filter sees documents, and a strict one still fills the answer",
          "[memory_bank][index]") {
  Random random(3);
  std::vector<std::unique_ptr<KeyIndex>> indexes;
  indexes.push_back(make_exact_index(kDimension));
  indexes.push_back(make_hnsw_index(kDimension));
  for (int64_t row = 1; row <= 400; ++row) {
    const auto keys = random_keys(random, 3, kDimension);
    for (const auto& index : indexes) {
      index->add(row, keys);
    }
  }
  const auto query = random_keys(random, 1, kDimension);
  const auto rare = [](int64_t row) { return row % 50 == 0; };
  for (const auto& index : indexes) {
    const auto hits = index->search(query, 5, rare);
    CHECK(hits.size() == 5);
    for (const KeyHit& hit : hits) {
      CHECK(rare(hit.document_row));
    }
    CHECK(index->search(query, 5, [](int64_t) { return false; }).empty());
    CHECK(index->search(query, 400).size() == 400);
    CHECK(index->search(query, 1000).size() == 400);
  }
}

TEST_CASE("key index: one document with many keys does not hide the others",
          "[memory_bank][index]") {
  Random random(4);
  const auto index = make_hnsw_index(kDimension);
  const auto query = random_keys(random, 1, kDimension);
  std::vector<float> crowd;
  for (int i = 0; i < 500; ++i) {
    crowd.insert(crowd.end(), query.begin(), query.end());
  }
  index->add(1, crowd);
  for (int64_t row = 2; row <= 20; ++row) {
    index->add(row, random_keys(random, 1, kDimension));
  }
  CHECK(index->search(query, 10).size() == 10);
}

}  // namespace alluvium::tests
