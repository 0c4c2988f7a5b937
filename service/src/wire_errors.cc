#include <array>

#include "alluvium/service/protocol.h"

namespace alluvium::service {
namespace {

struct ErrorRow {
  WireError code;
  const char* name;
  int http;
};

constexpr std::array kErrors = {
    ErrorRow{WireError::bad_request, "bad_request", 400},
    ErrorRow{WireError::unauthorized, "unauthorized", 401},
    ErrorRow{WireError::forbidden, "forbidden", 403},
    ErrorRow{WireError::not_found, "not_found", 404},
    ErrorRow{WireError::conflict, "conflict", 409},
    ErrorRow{WireError::stale_version, "stale_version", 409},
    ErrorRow{WireError::precondition, "precondition", 412},
    ErrorRow{WireError::too_large, "too_large", 413},
    ErrorRow{WireError::busy, "busy", 429},
    ErrorRow{WireError::credit_exceeded, "credit_exceeded", 429},
    ErrorRow{WireError::internal, "internal", 500},
    ErrorRow{WireError::degraded, "degraded", 503},
    ErrorRow{WireError::disk_full, "disk_full", 507},
    ErrorRow{WireError::deadline, "deadline", 504},
    ErrorRow{WireError::version, "version", 505},
};

const ErrorRow& row_of(WireError code) { return kErrors.at(static_cast<std::size_t>(code)); }

}  // namespace

const char* to_string(WireError code) { return row_of(code).name; }

int http_status(WireError code) { return row_of(code).http; }

std::optional<WireError> parse_wire_error(std::string_view name) {
  for (const ErrorRow& row : kErrors) {
    if (name == row.name) {
      return row.code;
    }
  }
  return std::nullopt;
}

WireError wire_error_of(const Error& error) {
  switch (error.kind()) {
    case ErrorKind::invalid_argument:
    case ErrorKind::not_supported:
      return WireError::bad_request;
    case ErrorKind::unavailable:
      return WireError::busy;
    case ErrorKind::resource_exhausted:
      return WireError::busy;
    case ErrorKind::numeric_error:
    case ErrorKind::data_corruption:
    case ErrorKind::internal_error:
      return WireError::internal;
  }
  return WireError::internal;
}

const char* to_string(Command command) {
  switch (command) {
    case Command::hello:
      return "HELLO";
    case Command::welcome:
      return "WELCOME";
    case Command::credit:
      return "CREDIT";
    case Command::put:
      return "PUT";
    case Command::erase:
      return "DELETE";
    case Command::ack:
      return "ACK";
    case Command::nack:
      return "NACK";
    case Command::ping:
      return "PING";
    case Command::pong:
      return "PONG";
    case Command::bye:
      return "BYE";
    case Command::flush:
      return "FLUSH";
    case Command::status:
      return "STATUS";
    case Command::query:
      return "QUERY";
    case Command::token:
      return "TOKEN";
    case Command::done:
      return "DONE";
    case Command::cancel:
      return "CANCEL";
    case Command::cite:
      return "CITE";
    case Command::reader_list:
      return "READER_LIST";
    case Command::reader_load:
      return "READER_LOAD";
    case Command::reader_rollback:
      return "READER_ROLLBACK";
    case Command::reader_unload:
      return "READER_UNLOAD";
    case Command::memory_stat:
      return "MEMORY_STAT";
    case Command::memory_recompress:
      return "MEMORY_RECOMPRESS";
    case Command::memory_verify:
      return "MEMORY_VERIFY";
    case Command::memory_compact:
      return "MEMORY_COMPACT";
    case Command::document_list:
      return "DOCUMENT_LIST";
    case Command::document_get:
      return "DOCUMENT_GET";
    case Command::dead_letter:
      return "DEAD_LETTER";
    case Command::dead_letter_list:
      return "DEAD_LETTER_LIST";
    case Command::held_list:
      return "HELD_LIST";
    case Command::held_admit:
      return "HELD_ADMIT";
  }
  return "unknown";
}

}  // namespace alluvium::service
