#include "json_document.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "alluvium/streams/dates.h"

namespace alluvium::streams {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 7> kOwnFields = {
    "id", "text", "title", "namespace", "version", "valid_from", "metadata"};

/// The member, or null when it is absent or JSON's null.
const json* find_field(const json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::string string_field(const json& object, const char* name, const std::string& fallback) {
  const json* field = find_field(object, name);
  if (field == nullptr) {
    return fallback;
  }
  ALLUVIUM_CHECK(field->is_string(), "{} must be a string, got {}", name, field->type_name());
  return field->get<std::string>();
}

std::string read_id(const json& object) {
  const json* field = find_field(object, "id");
  ALLUVIUM_CHECK(field != nullptr, "id is missing");
  ALLUVIUM_CHECK(field->is_string() || field->is_number_integer(),
                 "id must be a string or an integer, got {}", field->type_name());
  return field->is_string() ? field->get<std::string>() : field->dump();
}

std::string read_text(const json& object) {
  const json* field = find_field(object, "text");
  ALLUVIUM_CHECK(field != nullptr, "text is missing");
  ALLUVIUM_CHECK(field->is_string(), "text must be a string, got {}", field->type_name());
  return field->get<std::string>();
}

uint64_t read_version(const json& object) {
  const json* field = find_field(object, "version");
  if (field == nullptr) {
    return 1;
  }
  ALLUVIUM_CHECK(field->is_number_unsigned(), "version must be an integer from 1, got {}",
                 field->dump(-1, ' ', true, json::error_handler_t::replace));
  return field->get<uint64_t>();
}

int64_t read_valid_from(const json& object) {
  const json* field = find_field(object, "valid_from");
  if (field == nullptr) {
    // `date` is anybody's field: one that holds no date says nothing about validity.
    const json* date = find_field(object, "date");
    return date != nullptr && date->is_string()
               ? parse_iso_date(date->get_ref<const std::string&>()).value_or(0)
               : 0;
  }
  if (field->is_number_integer()) {
    ALLUVIUM_CHECK(!field->is_number_unsigned() || field->get<uint64_t>() <= uint64_t{INT64_MAX},
                   "valid_from must be below 2^63 microseconds, got {}", field->dump());
    return field->get<int64_t>();
  }
  ALLUVIUM_CHECK(field->is_string(), "valid_from must be a date or an integer, got {}",
                 field->type_name());
  const auto& text = field->get_ref<const std::string&>();
  const auto time_us = parse_iso_date(text);
  ALLUVIUM_CHECK(time_us.has_value(), "valid_from is not an RFC 3339 date: '{}'",
                 text.substr(0, 64));
  return *time_us;
}

bool is_scalar(const json& value) {
  return value.is_string() || value.is_number() || value.is_boolean();
}

std::string scalar_text(const json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

void add_metadata(const json& object, Document& document) {
  if (const json* metadata = find_field(object, "metadata")) {
    ALLUVIUM_CHECK(metadata->is_object(), "metadata must be an object, got {}",
                   metadata->type_name());
    for (const auto& [key, value] : metadata->items()) {
      ALLUVIUM_CHECK(is_scalar(value),
                     "metadata '{}' must be a string, a number or a boolean, got {}", key,
                     value.type_name());
      document.metadata[key] = scalar_text(value);
    }
  }
  for (const auto& [key, value] : object.items()) {
    const bool own = std::find(kOwnFields.begin(), kOwnFields.end(), key) != kOwnFields.end();
    if (own || !is_scalar(value)) {
      continue;
    }
    std::string text = scalar_text(value);
    if (!text.empty() && text.size() <= kExtraFieldBytes) {
      document.metadata.emplace(key, std::move(text));
    }
  }
}

}  // namespace

Document document_from_json(const json& object, const std::string& name_space) {
  ALLUVIUM_CHECK(object.is_object(), "a record must be a JSON object, got {}", object.type_name());
  Document document;
  document.id = read_id(object);
  document.text = read_text(object);
  document.name_space = string_field(object, "namespace", name_space);
  document.title = string_field(object, "title", "");
  document.version = read_version(object);
  document.valid_from_us = read_valid_from(object);
  add_metadata(object, document);
  return document;
}

json parse_json(std::string_view text) {
  try {
    return json::parse(text);
  } catch (const json::parse_error& error) {
    throw InvalidArgument(fmt::format("not JSON from byte {} on", error.byte));
  } catch (const json::exception& error) {
    throw InvalidArgument(fmt::format("not JSON: {}", error.what()));
  }
}

}  // namespace alluvium::streams
