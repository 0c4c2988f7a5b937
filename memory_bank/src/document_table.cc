#include "document_table.h"

#include <algorithm>

#include "alluvium/core/error.h"
#include "metadata_blob.h"

namespace alluvium::memory_bank {
namespace {

constexpr const char* kSummaryColumns =
    "SELECT d.document_row, d.name_space, d.id, d.version, d.title, d.valid_from_us, d.created_us, "
    "d.text_bytes, "
    "(SELECT count(*) FROM chunk c WHERE c.document_row = d.document_row), "
    "(SELECT ifnull(sum(c.token_count), 0) FROM chunk c WHERE c.document_row = d.document_row), "
    "(SELECT ifnull(sum(m.record_bytes), 0) FROM chunk c JOIN memory m USING (chunk_row) "
    " WHERE c.document_row = d.document_row) FROM document d ";

DocumentSummary read_summary(const Statement& row) {
  DocumentSummary summary;
  summary.row = row.integer(0);
  summary.name_space = row.text(1);
  summary.id = row.text(2);
  summary.version = static_cast<uint64_t>(row.integer(3));
  summary.title = row.text(4);
  summary.valid_from_us = row.integer(5);
  summary.created_us = row.integer(6);
  summary.text_bytes = row.integer(7);
  summary.chunks = row.integer(8);
  summary.tokens = row.integer(9);
  summary.memory_bytes = row.integer(10);
  return summary;
}

struct VersionedRow {
  int64_t row = 0;
  uint64_t version = 0;  // 0: not there
};

VersionedRow select_version(Connection& connection, const std::string& name_space,
                            const std::string& id) {
  Statement select(connection,
                   "SELECT document_row, version FROM document WHERE name_space = ? AND id = ?");
  select.bind(name_space, id);
  return select.step() ? VersionedRow{select.integer(0), static_cast<uint64_t>(select.integer(1))}
                       : VersionedRow{};
}

uint64_t select_tombstone(Connection& connection, const std::string& name_space,
                          const std::string& id) {
  Statement select(connection, "SELECT version FROM tombstone WHERE name_space = ? AND id = ?");
  select.bind(name_space, id);
  return select.step() ? static_cast<uint64_t>(select.integer(0)) : 0;
}

int64_t write_document(Connection& connection, const Document& document, int64_t old_row,
                       int64_t now_us) {
  const auto metadata = encode_metadata(document.metadata);
  const auto version = static_cast<int64_t>(document.version);
  const auto text_bytes = static_cast<int64_t>(document.text.size());
  if (old_row != 0) {
    Statement(connection, "DELETE FROM chunk WHERE document_row = ?").bind(old_row).run();
    Statement(connection,
              "UPDATE document SET version = ?, valid_from_us = ?, created_us = ?, text_bytes = ?, "
              "metadata = ?, title = ?, text = ? WHERE document_row = ?")
        .bind(version, document.valid_from_us, now_us, text_bytes, bytes_of(metadata),
              document.title, document.text, old_row)
        .run();
    return old_row;
  }
  Statement(connection,
            "INSERT INTO document(name_space, id, version, valid_from_us, created_us, text_bytes, "
            "metadata, title, text) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .bind(document.name_space, document.id, version, document.valid_from_us, now_us, text_bytes,
            bytes_of(metadata), document.title, document.text)
      .run();
  return connection.last_insert_row();
}

std::vector<int64_t> insert_chunks(Connection& connection, int64_t document_row,
                                   const std::vector<Chunk>& chunks) {
  Statement insert(
      connection,
      "INSERT INTO chunk(document_row, part, begin_byte, end_byte, token_count, tokens) "
      "VALUES (?, ?, ?, ?, ?, ?)");
  std::vector<int64_t> rows;
  for (std::size_t part = 0; part < chunks.size(); ++part) {
    const Chunk& chunk = chunks[part];
    insert
        .bind(document_row, static_cast<int64_t>(part), static_cast<int64_t>(chunk.begin),
              static_cast<int64_t>(chunk.end), static_cast<int64_t>(chunk.tokens.size()),
              bytes_of(chunk.tokens))
        .run();
    rows.push_back(connection.last_insert_row());
  }
  return rows;
}

}  // namespace

std::optional<std::vector<int64_t>> put_document(Connection& connection, const Deposit& deposit,
                                                 int64_t now_us) {
  const Document& document = deposit.document;
  const VersionedRow old = select_version(connection, document.name_space, document.id);
  const uint64_t tombstone = select_tombstone(connection, document.name_space, document.id);
  if (document.version <= std::max(old.version, tombstone)) {
    return std::nullopt;
  }
  if (tombstone > 0) {
    Statement(connection, "DELETE FROM tombstone WHERE name_space = ? AND id = ?")
        .bind(document.name_space, document.id)
        .run();
  }
  const int64_t row = write_document(connection, document, old.row, now_us);
  replace_keys(connection, row, deposit.encoder_fingerprint, deposit.keys, deposit.key_dimension);
  return insert_chunks(connection, row, deposit.chunks);
}

int64_t erase_document(Connection& connection, const std::string& name_space, const std::string& id,
                       uint64_t version) {
  const VersionedRow old = select_version(connection, name_space, id);
  if (version != 0 && old.version > version) {
    return 0;
  }
  const uint64_t tombstone =
      std::max({version, old.version, select_tombstone(connection, name_space, id)});
  if (tombstone > 0) {
    Statement(connection,
              "INSERT OR REPLACE INTO tombstone(name_space, id, version) VALUES (?, ?, ?)")
        .bind(name_space, id, static_cast<int64_t>(tombstone))
        .run();
  }
  if (old.row != 0) {
    Statement(connection, "DELETE FROM document WHERE document_row = ?").bind(old.row).run();
  }
  return old.row;
}

uint64_t select_newest_version(Connection& connection, const std::string& name_space,
                               const std::string& id) {
  return std::max(select_version(connection, name_space, id).version,
                  select_tombstone(connection, name_space, id));
}

std::optional<int64_t> select_row(Connection& connection, const std::string& name_space,
                                  const std::string& id) {
  const VersionedRow found = select_version(connection, name_space, id);
  return found.row != 0 ? std::optional(found.row) : std::nullopt;
}

std::optional<DocumentSummary> select_summary(Connection& connection, int64_t document_row) {
  const std::string sql = std::string(kSummaryColumns) + "WHERE d.document_row = ?";
  Statement select(connection, sql.c_str());
  select.bind(document_row);
  return select.step() ? std::optional(read_summary(select)) : std::nullopt;
}

std::optional<Document> select_document(Connection& connection, int64_t document_row) {
  Statement select(connection,
                   "SELECT name_space, id, version, title, text, valid_from_us, metadata "
                   "FROM document WHERE document_row = ?");
  select.bind(document_row);
  if (!select.step()) {
    return std::nullopt;
  }
  return Document{
      select.text(0), select.text(1),    static_cast<uint64_t>(select.integer(2)), select.text(3),
      select.text(4), select.integer(5), decode_metadata(select.blob(6))};
}

std::vector<DocumentSummary> select_documents(Connection& connection, const std::string& name_space,
                                              const std::string& after_id, int64_t limit) {
  const std::string filter = name_space.empty() ? "" : "WHERE d.name_space = ? AND d.id > ? ";
  const std::string sql = kSummaryColumns + filter + "ORDER BY d.name_space, d.id LIMIT ?";
  Statement select(connection, sql.c_str());
  if (name_space.empty()) {
    select.bind(limit);
  } else {
    select.bind(name_space, after_id, limit);
  }
  std::vector<DocumentSummary> summaries;
  while (select.step()) {
    summaries.push_back(read_summary(select));
  }
  return summaries;
}

void replace_keys(Connection& connection, int64_t document_row, const Digest& encoder,
                  std::span<const float> keys, int64_t dimension) {
  Statement(connection, "DELETE FROM retrieval_key WHERE document_row = ?")
      .bind(document_row)
      .run();
  if (keys.empty()) {
    return;
  }
  Statement(connection,
            "INSERT INTO retrieval_key(document_row, encoder, dimension, key_count, vectors) "
            "VALUES (?, ?, ?, ?, ?)")
      .bind(document_row, bytes_of(encoder), dimension,
            static_cast<int64_t>(keys.size()) / dimension, bytes_of(keys))
      .run();
}

void visit_keys(Connection& connection, const Digest& encoder,
                const std::function<void(const DocumentKeys&)>& visit) {
  Statement select(connection,
                   "SELECT d.document_row, d.name_space, d.valid_from_us, k.vectors "
                   "FROM retrieval_key k JOIN document d USING (document_row) WHERE k.encoder = ? "
                   "ORDER BY d.document_row");
  select.bind(bytes_of(encoder));
  while (select.step()) {
    visit({select.integer(0), select.text(1), select.integer(2), select.array<float>(3)});
  }
}

std::vector<int64_t> select_without_keys(Connection& connection, const Digest& encoder,
                                         int64_t after_row, int64_t limit) {
  Statement select(connection,
                   "SELECT d.document_row FROM document d LEFT JOIN retrieval_key k "
                   "ON k.document_row = d.document_row AND k.encoder = ? "
                   "WHERE d.document_row > ? AND k.document_row IS NULL "
                   "ORDER BY d.document_row LIMIT ?");
  select.bind(bytes_of(encoder), after_row, limit);
  std::vector<int64_t> rows;
  while (select.step()) {
    rows.push_back(select.integer(0));
  }
  return rows;
}

}  // namespace alluvium::memory_bank
