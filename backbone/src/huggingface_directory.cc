#include "huggingface_directory.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <set>
#include <unordered_set>

#include "alluvium/core/error.h"
#include "json_file.h"
#include "safetensors_file.h"

namespace alluvium::backbone {
namespace {

constexpr const char* kConfigName = "config.json";
constexpr const char* kWeightsName = "model.safetensors";
constexpr const char* kIndexName = "model.safetensors.index.json";

constexpr int kDeepestNesting = 32;

template <class Predicate>
bool all_of(const nlohmann::json& list, Predicate predicate) {
  return std::all_of(list.begin(), list.end(), predicate);
}

// JSON writes any number of digits; what int64 cannot hold is left to double.
bool is_integer(const nlohmann::json& value) {
  constexpr auto kLargest = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  return value.is_number_integer() &&
         !(value.is_number_unsigned() && value.get<uint64_t>() > kLargest);
}

// Lists of one kind of value only; a mixed or nested list has no place among MetadataValue and
// stays out.
std::optional<MetadataValue> list_value(const nlohmann::json& list) {
  if (all_of(list, is_integer)) {
    return list.get<std::vector<int64_t>>();
  }
  if (all_of(list, [](const auto& item) { return item.is_number(); })) {
    return list.get<std::vector<double>>();
  }
  if (all_of(list, [](const auto& item) { return item.is_string(); })) {
    return list.get<std::vector<std::string>>();
  }
  return std::nullopt;
}

std::optional<MetadataValue> plain_value(const nlohmann::json& value) {
  if (value.is_boolean()) {
    return value.get<bool>();
  }
  if (is_integer(value)) {
    return value.get<int64_t>();
  }
  if (value.is_number()) {
    return value.get<double>();
  }
  if (value.is_string()) {
    return value.get<std::string>();
  }
  return value.is_array() ? list_value(value) : std::nullopt;
}

void flatten(const nlohmann::json& object, const std::string& prefix, int depth,
             std::unordered_map<std::string, MetadataValue>& into) {
  if (depth > kDeepestNesting) {
    throw DataCorruption(fmt::format("'{}' nests deeper than {} levels", prefix, kDeepestNesting));
  }
  for (const auto& [name, value] : object.items()) {
    const std::string key = prefix + "." + name;
    if (value.is_object()) {
      flatten(value, key, depth + 1, into);
    } else if (const std::optional<MetadataValue> plain = plain_value(value)) {
      into.emplace(key, *plain);
    }
  }
}

// File names of the weights, in name order.
std::set<std::string> weight_names(const std::string& directory) {
  if (std::filesystem::exists(directory + "/" + kWeightsName)) {
    return {kWeightsName};
  }
  const std::string path = directory + "/" + kIndexName;
  ALLUVIUM_CHECK(std::filesystem::exists(path), "'{}' has neither {} nor {}", directory,
                 kWeightsName, kIndexName);
  const nlohmann::json index = read_json_object(path);
  return reading_json(path, [&] {
    std::set<std::string> names;
    for (const auto& [tensor, file] : index.at("weight_map").items()) {
      const auto name = file.get<std::string>();
      // An index must not reach outside its directory.
      if (name.empty() || name.find('/') != std::string::npos) {
        throw DataCorruption(fmt::format("'{}' names the shard '{}'", path, name));
      }
      names.insert(name);
    }
    return names;
  });
}

}  // namespace

HuggingFaceDirectory::HuggingFaceDirectory(const std::string& directory) : directory_(directory) {
  const MappedFile& config = map(kConfigName);
  flatten(parse_json_object(config.text(), config.path()), "config", 0, metadata_);
  for (const std::string& name : weight_names(directory)) {
    std::vector<StoredTensor> tensors = read_safetensors(map(name));
    tensors_.insert(tensors_.end(), std::make_move_iterator(tensors.begin()),
                    std::make_move_iterator(tensors.end()));
  }
  std::unordered_set<std::string> names;
  for (const StoredTensor& tensor : tensors_) {
    if (!names.insert(tensor.name).second) {
      throw DataCorruption(
          fmt::format("'{}' has tensor '{}' in two shards", directory, tensor.name));
    }
  }
}

const MappedFile& HuggingFaceDirectory::map(const std::string& name) {
  files_.push_back(std::make_unique<MappedFile>(directory_ + "/" + name));
  return *files_.back();
}

const MetadataValue* HuggingFaceDirectory::find_metadata(const std::string& key) const {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? nullptr : &found->second;
}

const Digest& HuggingFaceDirectory::digest() const {
  std::call_once(digest_once_, [&] {
    Sha256 hash;
    for (const auto& file : files_) {
      const std::string name = std::filesystem::path(file->path()).filename().string();
      hash.update(fmt::format("{}\n{}\n", name, file->size())).update(file->text());
    }
    digest_ = hash.finish();
  });
  return digest_;
}

std::unique_ptr<Checkpoint> open_huggingface(const std::string& directory) {
  return std::make_unique<HuggingFaceDirectory>(directory);
}

}  // namespace alluvium::backbone
