// The changelogs of the Debian packages on this machine, one document an upload.
//
// Purpose: real, dated, growing documents on exact facts that every Debian machine carries.
// Differs: entries come in the order of their dates over all packages; each (source, version) once,
// however many binary packages carry
//          it; rebuilds without a source change are left out. Entries that cannot be read come
//          last, as bad records.
// Cost   : every changelog is read when the source is opened: about a second for a thousand
// packages. Threads: owned by one thread.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "alluvium/streams/source.h"

namespace alluvium::streams {

class DebianChangelogSource final : public Source {
 public:
  /// Reads <directory>/<package>/changelog*. options.max_documents keeps the newest. Throws
  /// InvalidArgument when the directory cannot be read.
  DebianChangelogSource(const std::string& directory, const SourceOptions& options);

  std::optional<SourceItem> next() override;
  std::optional<int64_t> expected_documents() const override;
  std::optional<double> progress() const override;

 private:
  std::vector<SourceItem> items_;
  int64_t documents_ = 0;
  std::size_t read_ = 0;
};

}  // namespace alluvium::streams
