#include "alluvium/core/error.h"

#include <set>
#include <string>

#include "support/catch.h"

namespace alluvium {
namespace {

TEST_CASE("error: each type carries its kind, message and place of origin", "[core][error]") {
  try {
    throw NotSupported("no such thing");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::not_supported);
    CHECK(std::string(error.what()) == "no such thing");
    CHECK_THAT(error.file(), Catch::Matchers::EndsWith("error_test.cc"));
    CHECK(error.line() > 0);
  }
}

TEST_CASE("error: a catch clause can name one kind and let the others pass", "[core][error]") {
  CHECK_THROWS_AS(throw Unavailable("later"), Unavailable);
  CHECK_THROWS_AS(throw Unavailable("later"), std::runtime_error);
  bool caught_by_other_kind = false;
  try {
    throw Unavailable("later");
  } catch (const InvalidArgument&) {
    caught_by_other_kind = true;
  } catch (const Error&) {
  }
  CHECK_FALSE(caught_by_other_kind);
}

TEST_CASE("error: kinds have different names", "[core][error]") {
  std::set<std::string> names;
  for (const ErrorKind kind :
       {ErrorKind::invalid_argument, ErrorKind::not_supported, ErrorKind::unavailable,
        ErrorKind::resource_exhausted, ErrorKind::numeric_error, ErrorKind::data_corruption,
        ErrorKind::internal_error}) {
    names.insert(to_string(kind));
  }
  CHECK(names.size() == 7);
  CHECK(names.count("data_corruption") == 1);
}

TEST_CASE("error: ALLUVIUM_CHECK passes what holds and formats what does not", "[core][error]") {
  const int k = -2;
  CHECK_NOTHROW([&] { ALLUVIUM_CHECK(k < 0, "k must be negative, got {}", k); }());
  CHECK_THROWS_WITH([&] { ALLUVIUM_CHECK(k > 0, "k must be positive, got {}", k); }(),
                    "k must be positive, got -2");
  CHECK_THROWS_AS([&] { ALLUVIUM_CHECK(k > 0, "no"); }(), InvalidArgument);
}

TEST_CASE("error: ALLUVIUM_ASSERT names the broken condition", "[core][error]") {
  CHECK_THROWS_AS([] { ALLUVIUM_ASSERT(1 + 1 == 3); }(), InternalError);
  CHECK_THROWS_WITH([] { ALLUVIUM_ASSERT(1 + 1 == 3); }(), "assertion failed: 1 + 1 == 3");
}

TEST_CASE("error: the checks evaluate their condition once", "[core][error]") {
  int evaluated = 0;
  ALLUVIUM_CHECK(++evaluated > 0, "never shown");
  ALLUVIUM_ASSERT(++evaluated > 0);
  CHECK(evaluated == 2);
}

}  // namespace
}  // namespace alluvium
