#include "selection_stream.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::experiments {
namespace {

std::string sentence(Random& random, std::size_t bytes) {
  std::string text;
  while (text.size() < bytes) {
    for (uint64_t letters = 2 + random.below(6); letters > 0; --letters) {
      text += static_cast<char>('a' + random.below(12));
    }
    text += ' ';
  }
  return text;
}

class Bed {
 public:
  explicit Bed(int rows) : rows_(rows) {
    Random random(3);
    options.program = ALLUVIUM_PROGRAM;
    options.pool = directory_ / "pool.jsonl";
    options.directory = directory_ / "run";
    options.top = 20;
    options.checkpoint_rows = 1000;
    for (int i = 0; i < 8; ++i) {
      options.targets.push_back(sentence(random, 300));
    }
    std::ofstream file(options.pool);
    for (int i = 0; i < rows; ++i) {
      file << Row{{"id", i}, {"text", sentence(random, 200)}}.dump() << "\n";
    }
    std::filesystem::create_directory(options.directory);
  }

  int rows() const { return rows_; }

  SelectionStreamOptions options;

 private:
  const int rows_;
  const tests::TemporaryDirectory directory_;
};

TEST_CASE("selection stream: a run that is killed and goes on picks what another picks",
          "[experiments][selection][service]") {
  const Bed bed(40'000);
  const SelectionStreamReport report = measure_selection_stream(bed.options);
  CHECK(report.rows == bed.rows());
  CHECK(report.pool_bytes == static_cast<int64_t>(std::filesystem::file_size(bed.options.pool)));
  CHECK(report.picked == 20);
  CHECK(report.same_output);
  CHECK(report.gone_on_at_row >= 1000);
  CHECK(report.gone_on_at_row < bed.rows());
  CHECK(report.checkpoint_bytes > 0);
  CHECK(report.killed.processor_seconds < report.uninterrupted.processor_seconds);
  for (const SelectionRun& run : {report.uninterrupted, report.killed, report.gone_on}) {
    CHECK(run.seconds > 0);
    CHECK(run.processor_seconds > 0);
    CHECK(run.peak_rss_bytes > 1'000'000);
  }

  const Row row = to_row(bed.options, report);
  CHECK(row.at("targets") == 8);
  CHECK(row.at("same_output") == true);
  CHECK(row.at("runs").size() == 3);
}

TEST_CASE("selection stream: a pool that ends before a checkpoint, a child that fails",
          "[experiments][selection][service]") {
  Bed bed(50);
  CHECK_THROWS_AS(measure_selection_stream(bed.options), InvalidArgument);
  std::ofstream(bed.options.pool, std::ios::app) << "no row\n";
  CHECK_THROWS_AS(measure_selection_stream(bed.options), Unavailable);
  bed.options.targets.clear();
  CHECK_THROWS_AS(measure_selection_stream(bed.options), InvalidArgument);
  CHECK_THROWS_AS(make_stream_pool(bed.options.directory + "/absent.py", "", 1, 0, "pool"),
                  InvalidArgument);
}

}  // namespace
}  // namespace alluvium::experiments
