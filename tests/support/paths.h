// Where tests find models, evaluation data and room for their files.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace alluvium::tests {

/// The evaluation data folder: $ALLUVIUM_DATA, or ../shared/data beside the source tree. Nothing when it is absent: the test says so and
/// is skipped.
std::optional<std::string> data_directory();

/// The default decoder (a GGUF file) and encoder (a directory) that ./run installs. Nothing when they are absent.
std::optional<std::string> default_decoder_path();
std::optional<std::string> default_encoder_path();

/// The stored oracle files: tests/oracle in the source tree.
std::string oracle_directory();

/// A fresh directory that is removed with the object.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace alluvium::tests
