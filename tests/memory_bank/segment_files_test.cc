#include "segment_files.h"

#include <filesystem>
#include <fstream>

#include "alluvium/core/error.h"
#include "faulty_file_system.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::tests {
namespace {

using memory_bank::RecordPlace;
using memory_bank::SegmentFiles;

std::vector<std::byte> record_of(char content, std::size_t size) {
  return std::vector<std::byte>(size, static_cast<std::byte>(content));
}

}  // namespace

TEST_CASE("segments: records come back and stand on 64-byte borders", "[memory_bank][segments]") {
  const TemporaryDirectory directory;
  FaultyFileSystem files;
  SegmentFiles segments(files, directory / "memories", 1 << 20);
  segments.recover({});
  const RecordPlace first = segments.append(record_of('a', 100));
  const RecordPlace second = segments.append(record_of('b', 64));
  segments.sync();
  CHECK(first == RecordPlace{1, 64, 100});
  CHECK(second == RecordPlace{1, 192, 64});
  CHECK((segments.read(first) == record_of('a', 100)));
  CHECK((segments.read(second) == record_of('b', 64)));
  CHECK(segments.sizes() == std::map<int64_t, uint64_t>{{1, 256}});
}

TEST_CASE("segments: a file past its size takes no more records", "[memory_bank][segments]") {
  const TemporaryDirectory directory;
  FaultyFileSystem files;
  SegmentFiles segments(files, directory / "memories", 128);
  segments.recover({});
  CHECK(segments.append(record_of('a', 64)).segment == 1);
  CHECK(segments.append(record_of('b', 64)).segment == 2);
  segments.start_new();
  CHECK(segments.append(record_of('c', 1)).segment == 3);
}

TEST_CASE("segments: opening cuts a torn tail and removes files without a live record",
          "[memory_bank][segments]") {
  const TemporaryDirectory directory;
  FaultyFileSystem files;
  RecordPlace kept;
  {
    SegmentFiles segments(files, directory / "memories", 1 << 20);
    segments.recover({});
    kept = segments.append(record_of('a', 100));
    segments.append(record_of('t', 1000));
    segments.start_new();
    segments.append(record_of('u', 10));
  }
  SegmentFiles segments(files, directory / "memories", 1 << 20);
  segments.recover({{1, kept.offset + kept.bytes}});
  CHECK(std::filesystem::file_size(directory / "memories/000001.seg") == 192);
  CHECK_FALSE(std::filesystem::exists(directory / "memories/000002.seg"));
  CHECK((segments.read(kept) == record_of('a', 100)));
  // The number of the removed file is not used again; the space after the live record is.
  segments.append(record_of('n', 5));
  segments.sync();
  CHECK((segments.read(kept) == record_of('a', 100)));
}

TEST_CASE("segments: a full disk leaves earlier records and the place of the next",
          "[memory_bank][segments]") {
  const TemporaryDirectory directory;
  FaultyFileSystem files;
  SegmentFiles segments(files, directory / "memories", 1 << 20);
  segments.recover({});
  const RecordPlace first = segments.append(record_of('a', 100));
  files.faults.bytes_left = 10;
  CHECK_THROWS_AS(segments.append(record_of('b', 100)), ResourceExhausted);
  files.faults.bytes_left = -1;
  const RecordPlace second = segments.append(record_of('c', 100));
  segments.sync();
  CHECK(second.offset == 192);
  CHECK((segments.read(first) == record_of('a', 100)));
  CHECK((segments.read(second) == record_of('c', 100)));
}

TEST_CASE("segments: a file that could not be synced takes no more records",
          "[memory_bank][segments]") {
  const TemporaryDirectory directory;
  FaultyFileSystem files;
  SegmentFiles segments(files, directory / "memories", 1 << 20);
  segments.recover({});
  segments.append(record_of('a', 100));
  files.faults.syncs_to_fail = 1;
  CHECK_THROWS_AS(segments.sync(), Unavailable);
  CHECK(segments.append(record_of('b', 100)).segment == 2);
}

TEST_CASE("segments: rewinding gives the space of later records back", "[memory_bank][segments]") {
  const TemporaryDirectory directory;
  FaultyFileSystem files;
  SegmentFiles segments(files, directory / "memories", 300);
  segments.recover({});
  const RecordPlace first = segments.append(record_of('a', 64));
  const RecordPlace mark = segments.mark();
  segments.append(record_of('b', 200));
  CHECK(segments.append(record_of('c', 200)).segment == 2);
  segments.rewind(mark);  // the newer file is empty again, the older one has lost nothing it needs
  CHECK(segments.append(record_of('d', 10)) == RecordPlace{2, 64, 10});
  CHECK((segments.read(first) == record_of('a', 64)));
}

TEST_CASE("segments: missing bytes are a corruption, not a crash", "[memory_bank][segments]") {
  const TemporaryDirectory directory;
  FaultyFileSystem files;
  SegmentFiles segments(files, directory / "memories", 1 << 20);
  segments.recover({});
  segments.append(record_of('a', 100));
  CHECK_THROWS_AS(segments.read({9, 64, 10}), DataCorruption);
  CHECK_THROWS_AS(segments.read({1, 64, uint64_t{1} << 40}), DataCorruption);
  CHECK_THROWS_AS(segments.read({1, ~uint64_t{0}, 64}), DataCorruption);
}

}  // namespace alluvium::tests
