#include "alluvium/backbone/checkpoint.h"

#include <algorithm>
#include <filesystem>

#include "alluvium/core/error.h"

namespace alluvium::backbone {
namespace {

// The value as a `Type`; `wanted` names that type in errors.
template <class Type>
const Type& typed(const MetadataValue* value, const std::string& key, const char* wanted) {
  if (value == nullptr) {
    throw DataCorruption(fmt::format("the checkpoint has no value '{}'", key));
  }
  if (!std::holds_alternative<Type>(*value)) {
    throw DataCorruption(fmt::format("the checkpoint's value '{}' is not {}", key, wanted));
  }
  return std::get<Type>(*value);
}

}  // namespace

const StoredTensor* Checkpoint::find_tensor(const std::string& name) const {
  const auto& all = tensors();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const StoredTensor& tensor) { return tensor.name == name; });
  return found == all.end() ? nullptr : &*found;
}

const StoredTensor& Checkpoint::require_tensor(const std::string& name,
                                               const std::vector<int64_t>& shape) const {
  const StoredTensor* const tensor = find_tensor(name);
  if (tensor == nullptr) {
    throw DataCorruption(fmt::format("the checkpoint has no tensor '{}'", name));
  }
  if (tensor->shape != shape) {
    throw DataCorruption(fmt::format("tensor '{}' has shape [{}], expected [{}]", name,
                                     fmt::join(tensor->shape, ", "), fmt::join(shape, ", ")));
  }
  return *tensor;
}

int64_t Checkpoint::integer(const std::string& key, std::optional<int64_t> fallback) const {
  const MetadataValue* const value = find_metadata(key);
  return value == nullptr && fallback ? *fallback : typed<int64_t>(value, key, "an integer");
}

double Checkpoint::real(const std::string& key, std::optional<double> fallback) const {
  const MetadataValue* const value = find_metadata(key);
  if (value == nullptr && fallback) {
    return *fallback;
  }
  // JSON writers print 10000.0 as 10000.
  if (value != nullptr && std::holds_alternative<int64_t>(*value)) {
    return static_cast<double>(std::get<int64_t>(*value));
  }
  return typed<double>(value, key, "a number");
}

std::string Checkpoint::text(const std::string& key,
                             const std::optional<std::string>& fallback) const {
  const MetadataValue* const value = find_metadata(key);
  return value == nullptr && fallback ? *fallback : typed<std::string>(value, key, "a text");
}

std::unique_ptr<Checkpoint> open_checkpoint(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored) ? open_huggingface(path) : open_gguf(path);
}

}  // namespace alluvium::backbone
