#include "faulty_file_system.h"

#include "alluvium/core/error.h"

namespace alluvium::tests {
namespace {

class FaultyFile final : public memory_bank::File {
 public:
  FaultyFile(std::unique_ptr<memory_bank::File> file, DiskFaults& faults)
      : file_(std::move(file)), faults_(faults) {}

  void write_at(uint64_t offset, std::span<const std::byte> bytes) override {
    if (faults_.bytes_left < 0) {
      file_->write_at(offset, bytes);
      return;
    }
    const auto left = static_cast<std::size_t>(faults_.bytes_left);
    if (bytes.size() > left) {
      file_->write_at(offset, bytes.first(left));  // torn: the first part is there
      faults_.bytes_left = 0;
      throw ResourceExhausted("no space left on the test's disk");
    }
    faults_.bytes_left -= static_cast<int64_t>(bytes.size());
    file_->write_at(offset, bytes);
  }

  void read_at(uint64_t offset, std::span<std::byte> bytes) const override {
    file_->read_at(offset, bytes);
  }

  void sync() override {
    if (faults_.syncs_to_fail > 0) {
      --faults_.syncs_to_fail;
      throw Unavailable("the test's device does not answer");
    }
    file_->sync();
  }

  uint64_t size() const override { return file_->size(); }
  void truncate(uint64_t size) override { file_->truncate(size); }

 private:
  std::unique_ptr<memory_bank::File> file_;
  DiskFaults& faults_;
};

}  // namespace

std::unique_ptr<memory_bank::File> FaultyFileSystem::open(const std::string& path,
                                                          memory_bank::Access access) {
  return std::make_unique<FaultyFile>(memory_bank::real_file_system().open(path, access), faults);
}

std::unique_ptr<memory_bank::File> FaultyFileSystem::create(const std::string& path) {
  return std::make_unique<FaultyFile>(memory_bank::real_file_system().create(path), faults);
}

void FaultyFileSystem::remove(const std::string& path) {
  memory_bank::real_file_system().remove(path);
}

std::vector<std::string> FaultyFileSystem::list(const std::string& directory) const {
  return memory_bank::real_file_system().list(directory);
}

void FaultyFileSystem::make_directory(const std::string& path) {
  memory_bank::real_file_system().make_directory(path);
}

}  // namespace alluvium::tests
