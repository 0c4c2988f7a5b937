#include "alluvium/core/bounded_queue.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "support/catch.h"

namespace alluvium {
namespace {

using std::chrono::milliseconds;

TEST_CASE("bounded_queue: items leave in the order they entered", "[core][bounded_queue]") {
  BoundedQueue<int> queue(3);
  REQUIRE(queue.push(1) == PushResult::pushed);
  REQUIRE(queue.push(2) == PushResult::pushed);
  CHECK(queue.pop() == 1);
  REQUIRE(queue.push(3) == PushResult::pushed);
  CHECK(queue.pop() == 2);
  CHECK(queue.pop() == 3);
}

TEST_CASE("bounded_queue: a capacity of zero is refused", "[core][bounded_queue]") {
  CHECK_THROWS_AS(BoundedQueue<int>(0), InvalidArgument);
}

TEST_CASE("bounded_queue: try_push says full and leaves the items alone", "[core][bounded_queue]") {
  BoundedQueue<int> queue(1);
  CHECK(queue.try_push(1) == PushResult::pushed);
  CHECK(queue.try_push(2) == PushResult::full);
  CHECK(queue.size() == 1);
  CHECK(queue.pop() == 1);
}

TEST_CASE("bounded_queue: after close nothing enters and what is inside can be taken",
          "[core][bounded_queue]") {
  BoundedQueue<int> queue(2);
  queue.push(7);
  queue.close();
  CHECK(queue.closed());
  CHECK(queue.push(8) == PushResult::closed);
  CHECK(queue.try_push(8) == PushResult::closed);
  CHECK(queue.pop() == 7);
  CHECK_FALSE(queue.pop().has_value());
}

TEST_CASE("bounded_queue: a full queue that was closed says closed, not full",
          "[core][bounded_queue]") {
  BoundedQueue<int> queue(1);
  queue.push(1);
  queue.close();
  CHECK(queue.try_push(2) == PushResult::closed);
}

TEST_CASE("bounded_queue: close wakes a waiting producer and a waiting consumer",
          "[core][bounded_queue]") {
  BoundedQueue<int> full(1);
  full.push(1);
  BoundedQueue<int> empty(1);
  PushResult pushed = PushResult::pushed;
  bool popped = true;
  std::jthread producer([&] { pushed = full.push(2); });
  std::jthread consumer([&] { popped = empty.pop().has_value(); });
  full.close();
  empty.close();
  producer.join();
  consumer.join();
  CHECK(pushed == PushResult::closed);
  CHECK_FALSE(popped);
}

TEST_CASE("bounded_queue: pop_for returns nothing when nothing comes", "[core][bounded_queue]") {
  BoundedQueue<int> queue(1);
  CHECK_FALSE(queue.pop_for(milliseconds(1)).has_value());
  queue.push(4);
  CHECK(queue.pop_for(milliseconds(1)) == 4);
}

TEST_CASE("bounded_queue: drain takes at most the limit and makes room", "[core][bounded_queue]") {
  BoundedQueue<int> queue(3);
  for (const int item : {1, 2, 3}) {
    queue.push(item);
  }
  CHECK(queue.drain(2) == std::vector<int>{1, 2});
  CHECK(queue.try_push(4) == PushResult::pushed);
  CHECK(queue.drain(9) == std::vector<int>{3, 4});
  CHECK(queue.drain(9).empty());
}

TEST_CASE("bounded_queue: drain wakes every producer that waits for room",
          "[core][bounded_queue]") {
  BoundedQueue<int> queue(2);
  queue.push(1);
  queue.push(2);
  std::jthread first([&] { queue.push(3); });
  std::jthread second([&] { queue.push(4); });
  std::vector<int> taken = queue.drain(2);
  first.join();
  second.join();
  for (const int item : queue.drain(2)) {
    taken.push_back(item);
  }
  CHECK(std::accumulate(taken.begin(), taken.end(), 0) == 10);
}

TEST_CASE("bounded_queue: it carries items that can only be moved", "[core][bounded_queue]") {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  queue.push(std::make_unique<int>(5));
  const auto item = queue.pop();
  REQUIRE(item.has_value());
  CHECK(**item == 5);
}

TEST_CASE("bounded_queue: many producers and consumers lose and double nothing",
          "[core][bounded_queue][property]") {
  const auto capacity = GENERATE(std::size_t{1}, std::size_t{2}, std::size_t{64});
  CAPTURE(capacity);
  constexpr int kThreads = 4;
  constexpr int kItems = 2000;
  BoundedQueue<int> queue(capacity);
  std::vector<std::atomic<int>> seen(kThreads * kItems);
  std::size_t largest = 0;
  {
    std::vector<std::jthread> consumers;
    for (int c = 0; c < kThreads; ++c) {
      consumers.emplace_back([&] {
        while (const auto item = queue.pop()) {
          seen[*item].fetch_add(1);
        }
      });
    }
    {
      std::vector<std::jthread> producers;
      for (int p = 0; p < kThreads; ++p) {
        producers.emplace_back([&, p] {
          for (int i = 0; i < kItems; ++i) {
            queue.push(p * kItems + i);
          }
        });
      }
      for (int look = 0; look < 100; ++look) {
        largest = std::max(largest, queue.size());
      }
    }
    queue.close();
  }
  CHECK(largest <= capacity);
  CHECK(std::all_of(seen.begin(), seen.end(), [](const auto& count) { return count == 1; }));
}

}  // namespace
}  // namespace alluvium
