#include "alluvium/core/registry.h"

#include <memory>
#include <string>
#include <vector>

#include "support/catch.h"

namespace alluvium {
namespace {

struct Shape {
  virtual ~Shape() = default;
  virtual int corners() const = 0;
};

struct Polygon final : Shape {
  explicit Polygon(int corner_count) : corner_count_(corner_count) {}
  int corners() const override { return corner_count_; }
  int corner_count_;
};

using Shapes = Registry<Shape, int>;

Shapes two_shapes() {
  Shapes shapes("shape");
  shapes.add("star", [](int points) { return std::make_unique<Polygon>(2 * points); });
  shapes.add("polygon", [](int points) { return std::make_unique<Polygon>(points); });
  return shapes;
}

TEST_CASE("registry: a factory is found by name and gets the arguments", "[core][registry]") {
  const Shapes shapes = two_shapes();
  CHECK(shapes.make("star", 5)->corners() == 10);
  CHECK(shapes.make("polygon", 5)->corners() == 5);
  CHECK(shapes.contains("star"));
  CHECK_FALSE(shapes.contains("circle"));
}

TEST_CASE("registry: names come in alphabetical order", "[core][registry]") {
  CHECK(two_shapes().names() == std::vector<std::string>{"polygon", "star"});
  CHECK(Shapes("shape").names().empty());
}

TEST_CASE("registry: an unknown name is refused with the known ones", "[core][registry]") {
  CHECK_THROWS_AS(two_shapes().make("circle", 1), InvalidArgument);
  CHECK_THROWS_WITH(two_shapes().make("circle", 1), "unknown shape 'circle'; known: polygon, star");
}

TEST_CASE("registry: a name taken twice is refused and the first stays", "[core][registry]") {
  Shapes shapes = two_shapes();
  CHECK_THROWS_WITH(shapes.add("star", [](int) { return std::make_unique<Polygon>(0); }),
                    "shape 'star' is registered twice");
  CHECK(shapes.make("star", 1)->corners() == 2);
}

}  // namespace
}  // namespace alluvium
