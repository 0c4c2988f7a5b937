#include <map>
#include <string>
#include <vector>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/core/utf8.h"
#include "alluvium/streams/dates.h"
#include "streams/stream_files.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::streams {
namespace {

using Catch::Matchers::Contains;
using tests::drain_location;
using tests::Drained;
using tests::TemporaryDirectory;

Drained drain_lines(const std::string& content, const SourceOptions& options = {}) {
  const TemporaryDirectory folder;
  tests::write_file(folder / "input.jsonl", content);
  return drain_location(folder / "input.jsonl", options);
}

TEST_CASE("jsonl: every field of a line reaches the document", "[streams][jsonl]") {
  const auto drained = drain_lines(
      R"({"id":"a/1","text":"Body.","title":"Head","namespace":"news","version":7,)"
      R"("valid_from":"2024-05-01T00:00:00Z","metadata":{"author":"Ada","pages":3,"open":true}})");
  REQUIRE(drained.documents.size() == 1);
  const Document& document = drained.documents[0].document;
  CHECK(document.id == "a/1");
  CHECK(document.text == "Body.");
  CHECK(document.title == "Head");
  CHECK(document.name_space == "news");
  CHECK(document.version == 7);
  CHECK(document.valid_from_us == parse_iso_date("2024-05-01"));
  CHECK(document.metadata ==
        std::map<std::string, std::string>{{"author", "Ada"}, {"open", "true"}, {"pages", "3"}});
  CHECK(drained.documents[0].line == 1);
  CHECK_THAT(drained.documents[0].source, Catch::Matchers::EndsWith("input.jsonl"));
}

TEST_CASE("jsonl: a line with id and text alone takes the defaults", "[streams][jsonl]") {
  SourceOptions options;
  options.name_space = "mine";
  const auto drained = drain_lines(R"({"id":12,"text":"Body.","title":null})", options);
  REQUIRE(drained.documents.size() == 1);
  const Document& document = drained.documents[0].document;
  CHECK(document.id == "12");
  CHECK(document.name_space == "mine");
  CHECK(document.version == 1);
  CHECK(document.title.empty());
  CHECK(document.valid_from_us == 0);
  CHECK(document.metadata.empty());
}

TEST_CASE("jsonl: small other fields join the metadata, large and nested ones do not",
          "[streams][jsonl]") {
  const std::string large(513, 'x');
  const auto drained =
      drain_lines(R"({"id":"a","text":"t","package":"trac","article":4,"rate":0.5,)"
                  R"("fixed":["0.10"],"section":"","large":")" +
                  large + R"(","metadata":{"package":"kept"}})");
  REQUIRE(drained.documents.size() == 1);
  CHECK(drained.documents[0].document.metadata ==
        std::map<std::string, std::string>{{"article", "4"}, {"package", "kept"}, {"rate", "0.5"}});
}

TEST_CASE("jsonl: valid_from may be microseconds, and date stands in for it", "[streams][jsonl]") {
  const auto drained = drain_lines(R"({"id":1,"text":"t","valid_from":1500000})"
                                   "\n"
                                   R"({"id":2,"text":"t","date":"1987-02-26T15:01:01"})"
                                   "\n"
                                   R"({"id":3,"text":"t","date":"last spring"})");
  REQUIRE(drained.documents.size() == 3);
  CHECK(drained.documents[0].document.valid_from_us == 1'500'000);
  CHECK(drained.documents[1].document.valid_from_us == parse_iso_date("1987-02-26T15:01:01Z"));
  CHECK(drained.documents[1].document.metadata.at("date") == "1987-02-26T15:01:01");
  CHECK(drained.documents[2].document.valid_from_us == 0);
}

TEST_CASE("jsonl: a bad line is named with its field and the stream goes on", "[streams][jsonl]") {
  const auto [line, reason] = GENERATE(table<std::string, std::string>({
      {R"({"text":"t"})", "id is missing"},
      {R"({"id":null,"text":"t"})", "id is missing"},
      {R"({"id":1.5,"text":"t"})", "id must be a string or an integer"},
      {R"({"id":"","text":"t"})", "id must not be empty"},
      {R"({"id":"a"})", "text is missing"},
      {R"({"id":"a","text":5})", "text must be a string"},
      {R"({"id":"a","text":"  "})", "text must not be empty"},
      {R"({"id":"a","text":"t","title":[]})", "title must be a string"},
      {R"({"id":"a","text":"t","version":0})", "version must lie in"},
      {R"({"id":"a","text":"t","version":-1})", "version must be an integer from 1, got -1"},
      {R"({"id":"a","text":"t","version":"2"})", "version must be an integer"},
      {R"({"id":"a","text":"t","valid_from":"soon"})",
       "valid_from is not an RFC 3339 date: 'soon'"},
      {R"({"id":"a","text":"t","valid_from":1e300})", "valid_from must be a date or an integer"},
      {R"({"id":"a","text":"t","valid_from":18446744073709551615})", "valid_from must be below"},
      {R"({"id":"a","text":"t","metadata":[]})", "metadata must be an object"},
      {R"({"id":"a","text":"t","metadata":{"k":{}}})", "metadata 'k' must be"},
      {R"([1,2])", "a record must be a JSON object, got array"},
      {R"({"id":"a","text":"t")", "not JSON"},
      {R"({"id":"a","text":"t"} x)", "not JSON"},
      {"{\"id\":\"a\",\"text\":\"\xff\"}", "not JSON"},
      {"plain words", "not JSON from byte 1 on"},
      {R"({"id":"a\u0000b","text":"t"})", "id must not hold control characters"},
  }));
  CAPTURE(line);
  const auto drained = drain_lines("\n" + line +
                                   "\n"
                                   R"({"id":"next","text":"t"})");
  REQUIRE(drained.bad.size() == 1);
  CHECK_THAT(drained.bad[0].reason, Contains(reason));
  CHECK(drained.bad[0].line == 2);
  CHECK_THAT(drained.bad[0].source, Catch::Matchers::EndsWith("input.jsonl"));
  CHECK_FALSE(find_invalid_utf8(drained.bad[0].content).has_value());
  CHECK(drained.ids() == std::vector<std::string>{"next"});
}

TEST_CASE(
    "jsonl: a text over the limit and a line over every limit are bad records of bounded size",
    "[streams][jsonl]") {
  SourceOptions options;
  options.limits.text_bytes = 100;
  const std::string text(101, 'x');
  // The longest line allowed is twice the text's limit and 1 MiB.
  const std::string line(1'048'777, 'y');
  const auto drained = drain_lines(R"({"id":"a","text":")" + text + "\"}\n" + line +
                                       "\n"
                                       R"({"id":"b","text":"t"})",
                                   options);
  REQUIRE(drained.bad.size() == 2);
  CHECK(drained.bad[0].reason == "text has 101 bytes, the limit is 100");
  CHECK(drained.bad[1].reason == "line has 1048777 bytes, the limit is 1048776");
  CHECK(drained.bad[1].content.size() == 4096);
  CHECK(drained.ids() == std::vector<std::string>{"b"});
}

TEST_CASE("jsonl: nesting of any depth is survived", "[streams][jsonl]") {
  const std::string deep(300'000, '[');
  const auto drained = drain_lines(R"({"id":"a","text":"t","deep":)" + deep + "\n" + deep +
                                   std::string(300'000, ']') +
                                   "\n"
                                   R"({"id":"b","text":"t"})");
  CHECK(drained.bad.size() == 2);
  CHECK(drained.ids() == std::vector<std::string>{"b"});
}

TEST_CASE("jsonl: random damage to a line never stops the stream", "[streams][jsonl][property]") {
  const auto seed = GENERATE(range(0U, 50U));
  CAPTURE(seed);
  Random random(seed);
  std::string line =
      R"({"id":"a","text":"caf\u00e9 \ud83c\udf0a","version":3,"metadata":{"k":"v"}})";
  for (int i = 0; i < 3; ++i) {
    char byte = static_cast<char>(random.below(256));
    line[random.below(line.size())] = byte == '\n' ? ' ' : byte;
  }
  const auto drained = drain_lines(line +
                                   "\n"
                                   R"({"id":"last","text":"t"})");
  CHECK(drained.documents.size() + drained.bad.size() == 2);
  CHECK(drained.documents.back().document.id == "last");
}

TEST_CASE("json file: an object is one document and an array is one each", "[streams][json]") {
  const TemporaryDirectory folder;
  tests::write_file(folder / "one.json", "{\n  \"id\": \"a\",\n  \"text\": \"t\"\n}\n");
  tests::write_file(folder / "many.json", R"([{"id":"a","text":"t"}, 5, {"id":"b","text":"t"}])");
  CHECK(drain_location(folder / "one.json").ids() == std::vector<std::string>{"a"});
  const auto many = drain_location(folder / "many.json");
  CHECK(many.ids() == std::vector<std::string>{"a", "b"});
  REQUIRE(many.bad.size() == 1);
  CHECK(many.bad[0].line == 2);
  CHECK(many.documents[1].line == 3);
  CHECK(open_source(folder / "many.json")->expected_documents() == 3);
}

TEST_CASE("json file: JSON lines under the wrong name are refused with advice", "[streams][json]") {
  const TemporaryDirectory folder;
  tests::write_file(folder / "lines.json",
                    "{\"id\":1,\"text\":\"t\"}\n{\"id\":2,\"text\":\"t\"}\n");
  CHECK_THROWS_WITH(open_source(folder / "lines.json"), Contains("named .jsonl"));
}

}  // namespace
}  // namespace alluvium::streams
