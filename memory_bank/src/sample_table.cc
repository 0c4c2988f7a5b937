#include "sample_table.h"

#include <utility>

#include "alluvium/core/error.h"

namespace alluvium::memory_bank {
namespace {

std::string read_bytes(const Statement& row, int column) {
  const auto bytes = row.blob(column);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void check_found(const Connection& connection, const std::string& id) {
  ALLUVIUM_CHECK(connection.changes() == 1, "the sample log has no sample '{}'", id);
}

}  // namespace

SampleTable::SampleTable(Write write, ConnectionPool& readers)
    : write_(std::move(write)), readers_(readers) {}

std::string SampleTable::head() {
  const auto reader = readers_.lease();
  Statement select(*reader, "SELECT head FROM sample_head");
  return select.step() ? read_bytes(select, 0) : std::string();
}

bool SampleTable::knows(const std::string& id) {
  const auto reader = readers_.lease();
  Statement select(*reader, "SELECT 1 FROM sample WHERE id = ?");
  select.bind(id);
  return select.step();
}

void SampleTable::each(const std::function<void(const LoggedSample&)>& visit) {
  const auto reader = readers_.lease();
  Statement select(*reader,
                   "SELECT id, content, state, features FROM sample WHERE retired IS NULL "
                   "ORDER BY sample_row");
  while (select.step()) {
    visit({select.text(0), select.text(1), read_bytes(select, 2), read_bytes(select, 3)});
  }
}

void SampleTable::commit(const SampleLogChanges& changes) {
  write_([&](Connection& connection) {
    Statement insert(connection,
                     "INSERT INTO sample(id, content, state, features) VALUES (?, ?, ?, ?) "
                     "ON CONFLICT(id) DO NOTHING");
    for (const LoggedSample& sample : changes.added) {
      insert.bind(sample.id, sample.content, bytes_of(sample.state), bytes_of(sample.features))
          .run();
      ALLUVIUM_CHECK(connection.changes() == 1, "sample '{}' is in the sample log already",
                     sample.id);
    }
    Statement state(connection, "UPDATE sample SET state = ? WHERE id = ?");
    Statement features(connection, "UPDATE sample SET features = ? WHERE id = ?");
    for (const SampleChange& change : changes.changed) {
      state.bind(bytes_of(change.state), change.id).run();
      check_found(connection, change.id);
      if (change.features) {
        features.bind(bytes_of(*change.features), change.id).run();
      }
    }
    Statement retire(connection,
                     "UPDATE sample SET retired = ?, state = x'', features = x'' WHERE id = ?");
    for (const RetiredSample& sample : changes.retired) {
      retire.bind(sample.reason, sample.id).run();
      check_found(connection, sample.id);
    }
    Statement(connection,
              "INSERT INTO sample_head(one, head) VALUES (1, ?) "
              "ON CONFLICT(one) DO UPDATE SET head = excluded.head")
        .bind(bytes_of(changes.head))
        .run();
  });
}

}  // namespace alluvium::memory_bank
