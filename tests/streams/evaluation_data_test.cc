#include <set>
#include <string>

#include "streams/stream_files.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::streams {
namespace {

TEST_CASE("evaluation data: the document sets are read whole", "[streams][jsonl]") {
  const auto directory = tests::data_directory();
  if (!directory) {
    WARN("skipped: the evaluation data folder is absent");
    return;
  }
  const auto [file, documents] = GENERATE(table<std::string, std::size_t>({
      {"squad/dev_a.docs.jsonl.gz", 1106},
      {"pysec/stream.docs.jsonl.gz", 2056},
  }));
  CAPTURE(file);
  const auto drained = tests::drain_location(*directory + "/" + file);
  CHECK(drained.documents.size() == documents);
  CHECK(drained.bad.empty());
  const auto ids = drained.ids();
  CHECK(std::set<std::string>(ids.begin(), ids.end()).size() == documents);
}

TEST_CASE("evaluation data: advisories carry their dates and fields", "[streams][jsonl]") {
  const auto directory = tests::data_directory();
  if (!directory) {
    WARN("skipped: the evaluation data folder is absent");
    return;
  }
  const auto drained = tests::drain_location(*directory + "/pysec/stream.docs.jsonl.gz");
  for (const Envelope& envelope : drained.documents) {
    CHECK(envelope.document.valid_from_us > 0);
    CHECK(envelope.document.metadata.count("package") == 1);
  }
}

}  // namespace
}  // namespace alluvium::streams
