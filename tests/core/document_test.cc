#include "alluvium/core/document.h"

#include <limits>
#include <string>

#include "alluvium/core/error.h"
#include "support/catch.h"

namespace alluvium {
namespace {

using Catch::Matchers::Contains;

Document good_document() {
  Document document;
  document.id = "news/1";
  document.title = "A title";
  document.text = "Some text.";
  return document;
}

TEST_CASE("document: one with id and text passes", "[core][document]") {
  CHECK_NOTHROW(validate_document(good_document()));
}

TEST_CASE("document: the message names the empty field", "[core][document]") {
  Document document = good_document();
  SECTION("id") {
    document.id.clear();
    CHECK_THROWS_WITH(validate_document(document), Contains("id must not be empty"));
  }
  SECTION("namespace") {
    document.name_space.clear();
    CHECK_THROWS_WITH(validate_document(document), Contains("namespace must not be empty"));
  }
  SECTION("text") {
    document.text = GENERATE(as<std::string>{}, "", " ", "\n\t \r\n");
    CHECK_THROWS_WITH(validate_document(document), Contains("text must not be empty"));
  }
}

TEST_CASE("document: a field over its limit is named with size and bound", "[core][document]") {
  DocumentLimits limits;
  limits.text_bytes = 20;
  limits.title_bytes = 7;
  limits.id_bytes = 6;
  limits.namespace_bytes = 7;
  Document document = good_document();
  document.title = "1234567";
  REQUIRE_NOTHROW(validate_document(document, limits));
  SECTION("text") {
    document.text = std::string(21, 'x');
    CHECK_THROWS_WITH(validate_document(document, limits), "text has 21 bytes, the limit is 20");
  }
  SECTION("title") {
    document.title = "12345678";
    CHECK_THROWS_WITH(validate_document(document, limits), "title has 8 bytes, the limit is 7");
  }
  SECTION("id") {
    document.id = "news/12";
    CHECK_THROWS_WITH(validate_document(document, limits), "id has 7 bytes, the limit is 6");
  }
  SECTION("namespace") {
    document.name_space = "12345678";
    CHECK_THROWS_WITH(validate_document(document, limits), "namespace has 8 bytes, the limit is 7");
  }
}

TEST_CASE("document: malformed UTF-8 is refused with its byte", "[core][document]") {
  Document document = good_document();
  SECTION("text") {
    document.text = "abc\xff";
    CHECK_THROWS_WITH(validate_document(document), "text is not UTF-8 at byte 3");
  }
  SECTION("title") {
    document.title = "\xc0\xaf";
    CHECK_THROWS_WITH(validate_document(document), "title is not UTF-8 at byte 0");
  }
  SECTION("metadata") {
    document.metadata["key"] = "\xed\xa0\x80";
    CHECK_THROWS_WITH(validate_document(document), "metadata value is not UTF-8 at byte 0");
  }
}

TEST_CASE("document: control characters may stand in the text but not in id or namespace",
          "[core][document]") {
  Document document = good_document();
  document.text = "a\tb\nc\x01";
  CHECK_NOTHROW(validate_document(document));
  SECTION("id") {
    document.id = GENERATE(as<std::string>{}, "a\nb", "a\x7f", "\x1f");
    CHECK_THROWS_WITH(validate_document(document), "id must not hold control characters");
  }
  SECTION("namespace") {
    document.name_space = std::string("a\0b", 3);
    CHECK_THROWS_WITH(validate_document(document), "namespace must not hold control characters");
  }
}

TEST_CASE("document: versions run from 1 to what a signed 64-bit column holds",
          "[core][document]") {
  Document document = good_document();
  document.version = uint64_t{std::numeric_limits<int64_t>::max()};
  CHECK_NOTHROW(validate_document(document));
  document.version += 1;
  CHECK_THROWS_WITH(validate_document(document), Contains("version must lie in [1, 2^63)"));
  document.version = 0;
  CHECK_THROWS_AS(validate_document(document), InvalidArgument);
}

TEST_CASE("document: metadata is bounded in entries and in bytes", "[core][document]") {
  DocumentLimits limits;
  limits.metadata_entries = 2;
  limits.metadata_bytes = 10;
  Document document = good_document();
  document.metadata = {{"a", "1234"}, {"b", "5678"}};
  CHECK_NOTHROW(validate_document(document, limits));
  document.metadata["b"] = "56789";
  CHECK_THROWS_WITH(validate_document(document, limits), "metadata has 11 bytes, the limit is 10");
  document.metadata = {{"a", ""}, {"b", ""}, {"c", ""}};
  CHECK_THROWS_WITH(validate_document(document, limits), "metadata has 3 entries, the limit is 2");
}

}  // namespace
}  // namespace alluvium
