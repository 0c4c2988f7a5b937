#include "safetensors_file.h"

#include <algorithm>
#include <array>
#include <set>

#include "byte_reader.h"
#include "json_file.h"
#include "storage_format.h"

namespace alluvium::backbone {
namespace {

// The reference implementation's own limit.
constexpr uint64_t kLargestHeaderBytes = 100'000'000;
constexpr std::array kDtypes = {StorageFormat::f32, StorageFormat::f16, StorageFormat::bf16,
                                StorageFormat::i64};

StorageFormat format_of_dtype(const std::string& dtype, const std::string& tensor) {
  for (const StorageFormat format : kDtypes) {
    if (dtype == to_string(format)) {
      return format;
    }
  }
  throw NotSupported(
      fmt::format("tensor '{}' has dtype {}; supported are F32, F16, BF16, I64", tensor, dtype));
}

// `section` is what follows the header.
StoredTensor read_entry(const std::string& name, const nlohmann::json& entry,
                        std::string_view section, const std::string& path) {
  const auto fail = [&](const std::string& what) {
    throw DataCorruption(fmt::format("'{}' is damaged: tensor '{}' {}", path, name, what));
  };
  StoredTensor tensor;
  tensor.name = name;
  tensor.format = format_of_dtype(entry.at("dtype").get<std::string>(), name);
  const auto is_whole = [](const nlohmann::json& number) { return number.is_number_unsigned(); };
  const nlohmann::json& shape = entry.at("shape");
  const nlohmann::json& offsets = entry.at("data_offsets");
  if (!shape.is_array() || !std::all_of(shape.begin(), shape.end(), is_whole) ||
      !offsets.is_array() || offsets.size() != 2 ||
      !std::all_of(offsets.begin(), offsets.end(), is_whole)) {
    fail("has a shape or offsets that are not lists of whole numbers");
  }
  tensor.shape = shape.get<std::vector<int64_t>>();
  const auto begin = offsets[0].get<uint64_t>();
  const auto end = offsets[1].get<uint64_t>();
  if (begin > end || end > section.size()) {
    fail(fmt::format("lies from {} to {}, the data section has {} bytes", begin, end,
                     section.size()));
  }
  tensor.bytes = end - begin;
  if (stored_bytes(tensor.format, tensor.shape) != tensor.bytes) {
    fail(fmt::format("has {} bytes, which is not {} of shape [{}]", tensor.bytes,
                     to_string(tensor.format), fmt::join(tensor.shape, ", ")));
  }
  tensor.data = reinterpret_cast<const std::byte*>(section.data()) + begin;
  return tensor;
}

// The parser keeps the last of two equal names; the format forbids both, and so do we.
nlohmann::json parse_header(std::string_view text, const std::string& path) {
  std::set<std::string> names;
  const auto refuse_twice = [&](int depth, nlohmann::json::parse_event_t event,
                                nlohmann::json& parsed) {
    const bool is_name = depth == 1 && event == nlohmann::json::parse_event_t::key;
    if (is_name && !names.insert(parsed.get<std::string>()).second) {
      throw DataCorruption(fmt::format("'{}' is damaged: tensor '{}' is there twice", path,
                                       parsed.get<std::string>()));
    }
    return true;
  };
  nlohmann::json header = nlohmann::json::parse(text, refuse_twice);
  if (!header.is_object()) {
    throw DataCorruption(fmt::format("'{}' is damaged: its header is not an object", path));
  }
  return header;
}

}  // namespace

std::vector<StoredTensor> read_safetensors(const MappedFile& file) {
  ByteReader reader(file.text(), file.path());
  const auto header_bytes = reader.read<uint64_t>("header length");
  if (header_bytes > reader.remaining() || header_bytes > kLargestHeaderBytes) {
    reader.fail(fmt::format("the header is said to have {} bytes, {} are left and {} allowed",
                            header_bytes, reader.remaining(), kLargestHeaderBytes));
  }
  const std::string_view rest = file.text().substr(reader.offset());
  const std::string_view section = rest.substr(header_bytes);
  return reading_json(file.path(), [&] {
    std::vector<StoredTensor> tensors;
    const nlohmann::json header = parse_header(rest.substr(0, header_bytes), file.path());
    for (const auto& [name, entry] : header.items()) {
      if (name != "__metadata__") {
        tensors.push_back(read_entry(name, entry, section, file.path()));
      }
    }
    std::stable_sort(tensors.begin(), tensors.end(),
                     [](const auto& a, const auto& b) { return a.data < b.data; });
    return tensors;
  });
}

}  // namespace alluvium::backbone
