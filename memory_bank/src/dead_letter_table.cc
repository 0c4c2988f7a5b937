#include "dead_letter_table.h"

#include "alluvium/core/utf8.h"

namespace alluvium::memory_bank {
namespace {

constexpr std::size_t kContentBytes = 4096;

/// Valid UTF-8 of at most kContentBytes: a bad line may hold anything.
std::string clip(const std::string& content) {
  std::string clipped = content.substr(0, kContentBytes);
  clipped.resize(complete_utf8_prefix(clipped));
  return replace_invalid_utf8(clipped);
}

}  // namespace

void insert_dead_letter(Connection& connection, const DeadLetter& letter) {
  Statement(connection,
            "INSERT INTO dead_letter(source, line, reason, created_us, content) "
            "VALUES (?, ?, ?, ?, ?)")
      .bind(letter.source, letter.line, letter.reason, letter.created_us, clip(letter.content))
      .run();
}

std::vector<DeadLetter> select_dead_letters(Connection& connection, int64_t limit) {
  Statement select(connection,
                   "SELECT source, line, reason, content, created_us FROM dead_letter "
                   "ORDER BY letter_row DESC LIMIT ?");
  select.bind(limit);
  std::vector<DeadLetter> letters;
  while (select.step()) {
    letters.push_back(
        {select.text(0), select.integer(1), select.text(2), select.text(3), select.integer(4)});
  }
  return letters;
}

}  // namespace alluvium::memory_bank
