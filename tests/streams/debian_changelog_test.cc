#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "alluvium/core/error.h"
#include "alluvium/streams/dates.h"
#include "changelog_entry.h"
#include "streams/stream_files.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::streams {
namespace {

using Strings = std::vector<std::string>;
using tests::drain_location;
using tests::TemporaryDirectory;
using tests::write_gzip;

std::string entry(const std::string& header, const std::string& date,
                  const std::string& body = "Change.") {
  return header + "\n\n  * " + body + "\n\n -- Ada Byron <ada@example.org>  " + date + "\n";
}

const std::string kNewer =
    entry("pond (1.2-2) unstable; urgency=high", "Tue, 05 Mar 2024 01:00:00 +0200",
          "Fix CVE-2024-12345. Closes: #1001, bug 1002");
const std::string kOlder = entry("pond (1.2-1) experimental unstable; urgency=LOW, binary-only=no",
                                 "Mon, 01 Jan 2024 12:00:00 +0000");

TEST_CASE("changelogs: an upload becomes a document with its facts as metadata",
          "[streams][changelog]") {
  const TemporaryDirectory folder;
  write_gzip(folder / "pond/changelog.Debian.gz", kNewer + "\n" + kOlder);
  const auto drained = drain_location("debian-changelogs:" + folder.path());
  REQUIRE(drained.ids() == Strings{"pond/1.2-1", "pond/1.2-2"});
  CHECK(drained.bad.empty());
  const Document& newer = drained.documents[1].document;
  CHECK(newer.title == "pond 1.2-2");
  CHECK(newer.text + "\n" == kNewer);
  CHECK(newer.version == 1);
  CHECK(newer.valid_from_us == parse_iso_date("2024-03-04T23:00:00Z"));
  CHECK(newer.metadata == std::map<std::string, std::string>{{"closes", "1001,1002"},
                                                             {"cve", "CVE-2024-12345"},
                                                             {"date", "2024-03-05"},
                                                             {"distribution", "unstable"},
                                                             {"source", "pond"},
                                                             {"uploader", "Ada Byron"},
                                                             {"urgency", "high"},
                                                             {"version", "1.2-2"}});
  const Document& older = drained.documents[0].document;
  CHECK(older.metadata.at("distribution") == "experimental unstable");
  CHECK(older.metadata.at("urgency") == "low");
  CHECK(older.metadata.count("closes") == 0);
  CHECK(drained.documents[0].line == 7);
}

TEST_CASE("changelogs: all packages come in one order of dates, and a limit keeps the newest",
          "[streams][changelog]") {
  const TemporaryDirectory folder;
  const auto dated = [](const std::string& name, const std::string& day) {
    return entry(name + " (1) unstable; urgency=low", day + " Jan 2020 00:00:00 +0000");
  };
  write_gzip(folder / "a/changelog.gz", dated("a", "3"));
  write_gzip(folder / "b/changelog.Debian.gz", dated("b", "1"));
  write_gzip(folder / "c/changelog.Debian.gz", dated("c", "2"));
  const std::string location = "debian-changelogs:" + folder.path();
  CHECK(drain_location(location).ids() == Strings{"b/1", "c/1", "a/1"});
  SourceOptions options;
  options.max_documents = 2;
  CHECK(drain_location(location, options).ids() == Strings{"c/1", "a/1"});
  CHECK(open_source(location, options)->expected_documents() == 2);
}

TEST_CASE("changelogs: an upload that several packages carry counts once", "[streams][changelog]") {
  const TemporaryDirectory folder;
  write_gzip(folder / "pond/changelog.Debian.gz", kOlder);
  write_gzip(folder / "pond-doc/changelog.Debian.gz", kNewer + "\n" + kOlder);
  std::filesystem::create_directory_symlink(folder / "pond", folder / "pond-link");
  CHECK(drain_location("debian-changelogs:" + folder.path()).ids() ==
        Strings{"pond/1.2-1", "pond/1.2-2"});
}

TEST_CASE("changelogs: rebuilds and other kinds of changelog are left out",
          "[streams][changelog]") {
  const TemporaryDirectory folder;
  write_gzip(folder / "pond/changelog.Debian.amd64.gz",
             entry("pond (1.2-1+b1) sid; urgency=low, binary-only=yes",
                   "Mon, 08 Jan 2024 00:00:00 +0000") +
                 kOlder);
  write_gzip(folder / "lake/changelog.gz", "Version 2.0\n  - many things\n");
  write_gzip(folder / "sea/NEWS.Debian.gz", kNewer);
  tests::write_file(folder / "river/changelog.Debian", "\n\n" + kNewer);
  const auto drained = drain_location("debian-changelogs:" + folder.path());
  CHECK(drained.ids() == Strings{"pond/1.2-1", "pond/1.2-2"});
  CHECK(drained.bad.empty());
}

TEST_CASE("changelogs: an entry without a readable trailer is a bad record, once",
          "[streams][changelog]") {
  const TemporaryDirectory folder;
  const std::string broken = "pond (1.1-1) unstable; urgency=low\n\n  * No trailer.\n\n";
  const std::string undated = entry("pond (1.0-1) unstable; urgency=low", "some day in May");
  write_gzip(folder / "a/changelog.Debian.gz", kNewer + broken + kOlder + undated);
  write_gzip(folder / "b/changelog.Debian.gz", broken);
  const auto drained = drain_location("debian-changelogs:" + folder.path());
  CHECK(drained.ids() == Strings{"pond/1.2-1", "pond/1.2-2"});
  REQUIRE(drained.bad.size() == 2);
  for (const BadRecord& record : drained.bad) {
    CHECK_THAT(record.reason, Catch::Matchers::Contains("trailer"));
    CHECK(record.line > 0);
  }
}

TEST_CASE("changelogs: a damaged file is a bad record and hides no other", "[streams][changelog]") {
  const TemporaryDirectory folder;
  write_gzip(folder / "pond/changelog.Debian.gz", kNewer);
  tests::write_file(folder / "torn/changelog.Debian.gz",
                    std::string("\x1f\x8b\x08\x00\x00\x00", 6));
  const auto drained = drain_location("debian-changelogs:" + folder.path());
  CHECK(drained.ids() == Strings{"pond/1.2-2"});
  REQUIRE(drained.bad.size() == 1);
  CHECK_THAT(drained.bad[0].source, Catch::Matchers::Contains("torn"));
}

TEST_CASE("changelogs: old entries in Latin-1 are read as such", "[streams][changelog]") {
  const TemporaryDirectory folder;
  write_gzip(folder / "pond/changelog.Debian.gz",
             "pond (0.1) unstable; urgency=low\n\n  * Fix.\n\n -- Andr\xe9 M <a@example.org>  "
             "Mon, 01 Jan 2001 00:00:00 +0000\n");
  const auto drained = drain_location("debian-changelogs:" + folder.path());
  REQUIRE(drained.documents.size() == 1);
  CHECK(drained.documents[0].document.metadata.at("uploader") == "Andr\u00e9 M");
}

TEST_CASE("changelogs: headers are told from other lines", "[streams][changelog]") {
  CHECK(parse_changelog_header("g++-12 (12.2.0-14) unstable; urgency=medium")->source == "g++-12");
  CHECK(parse_changelog_header("a (1:2~rc1+dfsg-1) sid; urgency=low")->version == "1:2~rc1+dfsg-1");
  CHECK(parse_changelog_header("a (1) sid; urgency=low (high for some)")->urgency == "low");
  CHECK(parse_changelog_header("a (1) sid; Binary-Only=yes")->binary_only);
  for (const char* line :
       {"", "a", "a (1)", "a (1) sid", "a (1);", "a (1 2) sid; x=y", "a () sid; x=y",
        "  * a (1) sid; x=y", " -- A <a@b>  Mon, 01 Jan 2001 00:00:00 +0000"}) {
    CAPTURE(line);
    CHECK_FALSE(parse_changelog_header(line).has_value());
  }
}

TEST_CASE("changelogs: closed bugs are read in every customary form", "[streams][changelog]") {
  CHECK(closed_bugs("Closes: #1") == Strings{"1"});
  CHECK(closed_bugs("(closes: 12,34, #56,\n    bug#78)") == Strings{"12", "34", "56", "78"});
  CHECK(closed_bugs("CLOSES: Bug #9 and closes:#10, closes: #9") == Strings{"9", "10"});
  CHECK(closed_bugs("closes nothing, see #5; closes: soon").empty());
}

TEST_CASE("changelogs: CVE identifiers need four to seven digits", "[streams][changelog]") {
  CHECK(cve_ids("CVE-2024-1234, CVE-2024-1234567 (CVE-2024-1234)") ==
        Strings{"CVE-2024-1234", "CVE-2024-1234567"});
  CHECK(cve_ids("CVE-2024-123 CVE-24-1234 CVE-2024-12345678 CVE-").empty());
}

TEST_CASE("changelogs: this machine's own can be read", "[streams][changelog]") {
  if (!std::filesystem::is_directory("/usr/share/doc")) {
    WARN("skipped: this machine has no /usr/share/doc");
    return;
  }
  const auto drained = drain_location("debian-changelogs");
  int64_t last_us = INT64_MIN;
  std::map<std::string, int> ids;
  for (const Envelope& envelope : drained.documents) {
    const Document& document = envelope.document;
    CHECK(document.valid_from_us >= last_us);
    last_us = document.valid_from_us;
    CHECK(document.metadata.count("uploader") == 1);
    CHECK(++ids[document.id] == 1);
  }
}

}  // namespace
}  // namespace alluvium::streams
