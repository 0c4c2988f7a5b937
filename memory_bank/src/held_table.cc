#include "held_table.h"

#include "metadata_blob.h"

namespace alluvium::memory_bank {
namespace {

constexpr const char* kColumns =
    "SELECT name_space, id, version, title, text, valid_from_us, metadata, selector, "
    "target_version, score, reason, created_us FROM held_document ";

HeldDocument read_held(Statement& select) {
  return {.document = {select.text(0), select.text(1), static_cast<uint64_t>(select.integer(2)),
                       select.text(3), select.text(4), select.integer(5),
                       decode_metadata(select.blob(6))},
          .verdict = {.selector = select.text(7),
                      .target_version = select.integer(8),
                      .score = select.real(9),
                      .reason = select.text(10)},
          .created_us = select.integer(11)};
}

}  // namespace

void insert_held(Connection& connection, const HeldDocument& held) {
  const Document& document = held.document;
  const auto before = select_held(connection, document.name_space, document.id);
  if (before && before->document.version >= document.version) {
    return;
  }
  erase_held(connection, document.name_space, document.id, 0);
  Statement(connection,
            "INSERT INTO held_document(name_space, id, version, valid_from_us, created_us, "
            "selector, target_version, score, reason, metadata, title, text) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .bind(document.name_space, document.id, static_cast<int64_t>(document.version),
            document.valid_from_us, held.created_us, held.verdict.selector,
            held.verdict.target_version, held.verdict.score, held.verdict.reason,
            bytes_of(encode_metadata(document.metadata)), document.title, document.text)
      .run();
}

void erase_held(Connection& connection, const std::string& name_space, const std::string& id,
                uint64_t version) {
  Statement(connection,
            "DELETE FROM held_document WHERE name_space = ? AND id = ? AND (? = 0 OR version <= ?)")
      .bind(name_space, id, static_cast<int64_t>(version), static_cast<int64_t>(version))
      .run();
}

std::vector<HeldDocument> select_held(Connection& connection, int64_t limit) {
  const std::string sql = std::string(kColumns) + "ORDER BY held_row DESC LIMIT ?";
  Statement select(connection, sql.c_str());
  select.bind(limit);
  std::vector<HeldDocument> held;
  while (select.step()) {
    held.push_back(read_held(select));
  }
  return held;
}

std::optional<HeldDocument> select_held(Connection& connection, const std::string& name_space,
                                        const std::string& id) {
  const std::string sql = std::string(kColumns) + "WHERE name_space = ? AND id = ?";
  Statement select(connection, sql.c_str());
  select.bind(name_space, id);
  return select.step() ? std::optional(read_held(select)) : std::nullopt;
}

}  // namespace alluvium::memory_bank
