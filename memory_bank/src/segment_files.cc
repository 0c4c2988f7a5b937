#include "segment_files.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <utility>

#include "alluvium/core/error.h"

namespace alluvium::memory_bank {
namespace {

constexpr std::string_view kSuffix = ".seg";
constexpr std::array<char, 4> kMagic = {'A', 'K', 'V', 'S'};
constexpr uint32_t kVersion = 1;

/// The number in a segment's name, or 0.
int64_t parse_name(std::string_view name) {
  if (!name.ends_with(kSuffix)) {
    return 0;
  }
  name.remove_suffix(kSuffix.size());
  int64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  return error == std::errc() && end == name.data() + name.size() ? number : 0;
}

}  // namespace

SegmentFiles::SegmentFiles(FileSystem& files, std::string directory, uint64_t segment_bytes)
    : files_(files), directory_(std::move(directory)), segment_bytes_(segment_bytes) {}

void SegmentFiles::recover(const std::map<int64_t, uint64_t>& live_ends) {
  files_.make_directory(directory_);
  if (!live_ends.empty()) {
    highest_ = live_ends.rbegin()->first;
  }
  for (const std::string& name : files_.list(directory_)) {
    const int64_t number = parse_name(name);
    highest_ = std::max(highest_, number);
    if (number == 0) {
      continue;
    }
    const auto live = live_ends.find(number);
    if (live == live_ends.end()) {
      files_.remove(path_of(number));
      continue;
    }
    const auto file = files_.open(path_of(number), Access::write);
    const uint64_t end = padded(live->second);
    if (file->size() > end) {
      file->truncate(end);
    }
    const std::lock_guard lock(mutex_);
    sizes_[number] = end;
  }
  if (sizes_.count(highest_) > 0 && sizes_[highest_] < segment_bytes_) {
    current_ = highest_;
    end_ = sizes_[highest_];
    writer_ = files_.open(path_of(current_), Access::write);
  }
}

RecordPlace SegmentFiles::append(std::span<const std::byte> record) {
  if (current_ == 0 || end_ >= segment_bytes_) {
    create_segment();
  }
  const RecordPlace place{current_, end_, record.size()};
  writer_->write_at(place.offset, record);
  end_ += padded(record.size());
  const std::lock_guard lock(mutex_);
  sizes_[current_] = end_;
  return place;
}

void SegmentFiles::sync() {
  if (current_ == 0) {
    return;
  }
  try {
    writer_->sync();
  } catch (...) {
    start_new();
    throw;
  }
}

void SegmentFiles::rewind(const RecordPlace& mark) {
  if (current_ == 0) {
    return;
  }
  // A segment made after the mark holds nothing that anybody refers to.
  end_ = current_ == mark.segment ? mark.offset : kHeaderBytes;
  const std::lock_guard lock(mutex_);
  sizes_[current_] = end_;
}

std::vector<std::byte> SegmentFiles::read(const RecordPlace& place) const {
  const auto file = reader(place.segment);
  // Before the memory is taken: a damaged row must not ask for terabytes.
  if (place.offset > file->size() || place.bytes > file->size() - place.offset) {
    throw DataCorruption(fmt::format("{} is shorter than the record of {} bytes at {} needs",
                                     path_of(place.segment), place.bytes, place.offset));
  }
  std::vector<std::byte> record(place.bytes);
  file->read_at(place.offset, record);
  return record;
}

void SegmentFiles::remove(int64_t segment) {
  ALLUVIUM_ASSERT(segment != current_);
  files_.remove(path_of(segment));
  const std::lock_guard lock(mutex_);
  sizes_.erase(segment);
  readers_.erase(segment);
}

std::map<int64_t, uint64_t> SegmentFiles::sizes() const {
  const std::lock_guard lock(mutex_);
  return sizes_;
}

std::string SegmentFiles::path_of(int64_t segment) const {
  return fmt::format("{}/{:06}{}", directory_, segment, kSuffix);
}

void SegmentFiles::create_segment() {
  sync();
  const int64_t number = highest_ + 1;
  auto file = files_.create(path_of(number));
  std::array<std::byte, kHeaderBytes> header{};
  std::memcpy(header.data(), kMagic.data(), kMagic.size());
  std::memcpy(header.data() + 4, &kVersion, sizeof(kVersion));
  std::memcpy(header.data() + 8, &number, sizeof(number));
  file->write_at(0, header);
  writer_ = std::move(file);
  current_ = highest_ = number;
  end_ = kHeaderBytes;
  const std::lock_guard lock(mutex_);
  sizes_[current_] = end_;
}

std::shared_ptr<const File> SegmentFiles::reader(int64_t segment) const {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<const File>& file = readers_[segment];
  if (!file) {
    try {
      file = files_.open(path_of(segment), Access::read);
    } catch (...) {
      readers_.erase(segment);
      throw;
    }
  }
  return file;
}

}  // namespace alluvium::memory_bank
