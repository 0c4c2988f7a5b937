#include "alluvium/core/snapshot_slot.h"

#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.h"

namespace alluvium {
namespace {

TEST_CASE("snapshot_slot: nothing can be read before the first publish", "[core][snapshot_slot]") {
  CHECK(SnapshotSlot<int>().read() == nullptr);
  CHECK(*SnapshotSlot<int>(std::make_shared<const int>(4)).read() == 4);
}

TEST_CASE("snapshot_slot: a reader keeps its snapshot while newer ones are published",
          "[core][snapshot_slot]") {
  SnapshotSlot<int> slot;
  slot.publish(std::make_shared<const int>(1));
  const auto kept = slot.read();
  slot.publish(std::make_shared<const int>(2));
  CHECK(*kept == 1);
  CHECK(*slot.read() == 2);
}

TEST_CASE("snapshot_slot: a snapshot dies with its last reader", "[core][snapshot_slot]") {
  SnapshotSlot<int> slot(std::make_shared<const int>(1));
  auto reader = slot.read();
  const std::weak_ptr<const int> old = reader;
  slot.publish(std::make_shared<const int>(2));
  CHECK_FALSE(old.expired());
  reader.reset();
  CHECK(old.expired());
}

/// Reads the slot it lives in when it dies, as a snapshot with a long destructor might.
struct ReadsSlotWhenDestroyed {
  SnapshotSlot<ReadsSlotWhenDestroyed>* slot = nullptr;
  std::atomic<int>* destroyed = nullptr;

  ~ReadsSlotWhenDestroyed() {
    if (slot != nullptr) {
      slot->read();
      destroyed->fetch_add(1);
    }
  }
};

TEST_CASE("snapshot_slot: the old snapshot is destroyed outside the lock",
          "[core][snapshot_slot]") {
  std::atomic<int> destroyed = 0;
  SnapshotSlot<ReadsSlotWhenDestroyed> slot;
  auto first = std::make_shared<ReadsSlotWhenDestroyed>();
  first->slot = &slot;
  first->destroyed = &destroyed;
  slot.publish(std::move(first));
  slot.publish(std::make_shared<const ReadsSlotWhenDestroyed>());
  CHECK(destroyed == 1);
}

TEST_CASE("snapshot_slot: readers see versions that never go back while a writer publishes",
          "[core][snapshot_slot][property]") {
  SnapshotSlot<std::vector<int>> slot(std::make_shared<const std::vector<int>>(8, 0));
  std::atomic<int> torn = 0;
  std::atomic<int> backward = 0;
  {
    std::vector<std::jthread> readers;
    for (int r = 0; r < 3; ++r) {
      readers.emplace_back([&] {
        int last = 0;
        while (last < 500) {
          const auto snapshot = slot.read();
          for (const int value : *snapshot) {
            torn += value != snapshot->front() ? 1 : 0;
          }
          backward += snapshot->front() < last ? 1 : 0;
          last = snapshot->front();
        }
      });
    }
    for (int version = 1; version <= 500; ++version) {
      slot.publish(std::make_shared<const std::vector<int>>(8, version));
    }
  }
  CHECK(torn == 0);
  CHECK(backward == 0);
}

}  // namespace
}  // namespace alluvium
