#include "json_file.h"

#include "mapped_file.h"

namespace alluvium::backbone {

nlohmann::json parse_json_object(std::string_view text, const std::string& file) {
  return reading_json(file, [&] {
    nlohmann::json parsed = nlohmann::json::parse(text);
    if (!parsed.is_object()) {
      throw DataCorruption(fmt::format("'{}' is damaged: its JSON is not an object", file));
    }
    return parsed;
  });
}

nlohmann::json read_json_object(const std::string& path) {
  const MappedFile file(path);
  return parse_json_object(file.text(), path);
}

}  // namespace alluvium::backbone
