#include "alluvium/service/readers.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <unistd.h>
#include <utility>

#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "alluvium/service/configuration.h"

namespace alluvium::service {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNone = "none";
constexpr std::size_t kHistory = 64;
constexpr const char* kFiles[] = {"adapter_model.safetensors", "adapter_config.json",
                                  "manifest.json"};

std::string default_reader() {
  return (fs::path(cache_directory()) / "readers/smollm2-135m-instruct").string();
}

void sync(const fs::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0 || fsync(descriptor) != 0) {
    const std::string reason = std::strerror(errno);
    if (descriptor >= 0) {
      close(descriptor);
    }
    throw ResourceExhausted(fmt::format("cannot write '{}': {}", path.string(), reason));
  }
  close(descriptor);
}

// Runs file operations that report through an error code; throws when one failed.
template <class Operation>
void require_done(const std::string& path, Operation operation) {
  std::error_code error;
  operation(error);
  if (error) {
    throw ResourceExhausted(fmt::format("cannot write '{}': {}", path, error.message()));
  }
}

// The adapter's files under their new name, complete and on the disk before they have it. An
// adapter without a manifest gets one, so that it keeps its name.
void keep_copy(const learners::StoredAdapter& adapter, const std::string& source,
               const std::string& target) {
  const std::string beside = target + ".new";
  const std::string before = target + ".old";
  std::error_code ignored;
  fs::remove_all(beside, ignored);
  fs::remove_all(before, ignored);
  require_done(beside, [&](std::error_code& error) { fs::create_directories(beside, error); });
  if (fs::exists(fs::path(source) / "manifest.json")) {
    for (const char* name : kFiles) {
      require_done(beside, [&](std::error_code& error) {
        fs::copy_file(fs::path(source) / name, fs::path(beside) / name, error);
      });
    }
  } else {
    learners::save_adapter(beside, adapter.state, adapter.manifest, /*half_width=*/false);
  }
  for (const char* name : kFiles) {
    sync(fs::path(beside) / name);
  }
  if (fs::exists(target)) {
    require_done(target, [&](std::error_code& error) { fs::rename(target, before, error); });
  }
  require_done(target, [&](std::error_code& error) { fs::rename(beside, target, error); });
  sync(fs::path(target).parent_path());
  fs::remove_all(before, ignored);
}

void write_history(const std::string& directory, const std::vector<std::string>& history) {
  const std::string path = directory + "/active.json";
  require_done(path, [&](std::error_code& error) { fs::create_directories(directory, error); });
  {
    std::ofstream file(path + ".new");
    file << nlohmann::json(history).dump() << '\n';
    file.close();
    if (!file) {
      throw ResourceExhausted(fmt::format("cannot write '{}'", path));
    }
  }
  sync(path + ".new");
  require_done(path, [&](std::error_code& error) { fs::rename(path + ".new", path, error); });
  sync(directory);
}

std::string plain(std::string_view text) {
  constexpr std::string_view kEdges = " \t\r\n.";
  const std::size_t begin = text.find_first_not_of(kEdges);
  if (begin == std::string_view::npos) {
    return {};
  }
  std::string kept(text.substr(begin, text.find_last_not_of(kEdges) - begin + 1));
  std::transform(kept.begin(), kept.end(), kept.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return kept;
}

ReaderStatus status_of(const LoadedReader& reader, bool active) {
  return {.name = reader.manifest.name,
          .version = reader.manifest.version,
          .active = active,
          .metrics = reader.manifest.metrics,
          .created = reader.manifest.created};
}

}  // namespace

std::string LoadedReader::label() const {
  return fmt::format("{}@{}", manifest.name, manifest.version);
}

bool is_refusal(std::string_view answer, std::string_view refusal) {
  return plain(answer) == plain(refusal);
}

ReaderShelf::ReaderShelf(const std::string& instance_directory, const std::string& initial,
                         const backbone::Decoder& decoder)
    : directory_(instance_directory + "/adapters"), decoder_(decoder) {
  if (fs::exists(directory_ + "/active.json")) {
    restore();
    return;
  }
  const std::string source = initial == "auto" ? default_reader() : initial;
  if (initial == kNone || (initial == "auto" && !fs::exists(source))) {
    return;
  }
  try {
    load(source);
  } catch (const Error& error) {
    // The installed reader is for the default decoder; another decoder goes without.
    if (initial != "auto") {
      throw;
    }
    problem_ = fmt::format("the installed reader is left out: {}", error.what());
  }
}

std::string ReaderShelf::folder_of(const std::string& label) const {
  return directory_ + "/" + label;
}

void ReaderShelf::restore() {
  for (const auto& entry : fs::directory_iterator(directory_)) {
    const std::string label = entry.path().filename().string();
    if (!entry.is_directory() || label.find('@') == std::string::npos ||
        label.find(".new") != std::string::npos || label.find(".old") != std::string::npos) {
      continue;
    }
    try {
      learners::StoredAdapter stored = learners::load_adapter(
          entry.path().string(), decoder_.geometry().layers, decoder_.model());
      readers_[label] = std::make_shared<const LoadedReader>(
          LoadedReader{std::move(stored.manifest), decoder_.prepare(stored.state)});
    } catch (const Error& error) {
      problem_ = fmt::format("reader '{}' is left out: {}", label, error.what());
    }
  }
  std::ifstream file(directory_ + "/active.json");
  const nlohmann::json history = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!history.is_array()) {
    problem_ = fmt::format("'{}/active.json' is damaged: no reader is active", directory_);
    return;
  }
  for (const auto& entry : history) {
    const std::string label = entry.is_string() ? entry.get<std::string>() : "";
    if (label == kNone || readers_.count(label) > 0) {
      history_.push_back(label);
    } else if (problem_.empty()) {
      problem_ = fmt::format("reader '{}' is left out: its files are gone", label);
    }
  }
}

// Files first: what they do not take has not happened.
void ReaderShelf::commit(Readers readers, std::vector<std::string> history) {
  history.erase(std::unique(history.begin(), history.end()), history.end());
  if (history.size() > kHistory) {
    history.erase(history.begin(), history.end() - kHistory);
  }
  write_history(directory_, history);
  const std::lock_guard lock(mutex_);
  readers_ = std::move(readers);
  history_ = std::move(history);
}

ReaderStatus ReaderShelf::load(const std::string& source) {
  const std::lock_guard one_at_a_time(change_mutex_);
  learners::StoredAdapter stored =
      learners::load_adapter(source, decoder_.geometry().layers, decoder_.model());
  const auto reader = std::make_shared<const LoadedReader>(
      LoadedReader{stored.manifest, decoder_.prepare(stored.state)});
  keep_copy(stored, source, folder_of(reader->label()));
  Readers readers = readers_;
  std::vector<std::string> history = history_;
  readers[reader->label()] = reader;
  history.push_back(reader->label());
  commit(std::move(readers), std::move(history));
  return status_of(*reader, true);
}

const std::string& ReaderShelf::active() const {
  static const std::string none = kNone;
  return history_.empty() ? none : history_.back();
}

ReaderShelf::Reader ReaderShelf::named(const std::string& name) const {
  Reader newest;
  for (const auto& [label, reader] : readers_) {
    if (label == name) {
      return reader;
    }
    if (reader->manifest.name == name &&
        (!newest || newest->manifest.version < reader->manifest.version)) {
      newest = reader;
    }
  }
  return newest;
}

void ReaderShelf::unload(const std::string& name) {
  const std::lock_guard one_at_a_time(change_mutex_);
  const auto current = readers_.find(active());
  const bool is_active = current != readers_.end() && (name.empty() || name == current->first ||
                                                       name == current->second->manifest.name);
  const Reader reader = is_active ? current->second : named(name);
  ALLUVIUM_CHECK(reader != nullptr, "there is no reader '{}' to unload", name);
  std::vector<std::string> history = history_;
  if (is_active) {
    history.emplace_back(kNone);
    commit(readers_, std::move(history));
    return;
  }
  Readers readers = readers_;
  readers.erase(reader->label());
  history.erase(std::remove(history.begin(), history.end(), reader->label()), history.end());
  commit(std::move(readers), std::move(history));
  std::error_code ignored;
  fs::remove_all(folder_of(reader->label()), ignored);
}

void ReaderShelf::rollback() {
  const std::lock_guard one_at_a_time(change_mutex_);
  ALLUVIUM_CHECK(history_.size() >= 2 || active() != kNone, "there is no reader to go back to");
  std::vector<std::string> history = history_;
  history.pop_back();
  if (history.empty()) {
    history.emplace_back(kNone);
  }
  commit(readers_, std::move(history));
}

std::vector<ReaderStatus> ReaderShelf::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<ReaderStatus> list;
  for (const auto& [label, reader] : readers_) {
    list.push_back(status_of(*reader, label == active()));
  }
  return list;
}

std::shared_ptr<const LoadedReader> ReaderShelf::find(const std::string& name) const {
  if (name == kNone) {
    return nullptr;
  }
  const std::lock_guard lock(mutex_);
  if (name.empty()) {
    const auto found = readers_.find(active());
    return found == readers_.end() ? nullptr : found->second;
  }
  Reader found = named(name);
  if (!found) {
    std::vector<std::string> known = {kNone};
    for (const auto& [label, reader] : readers_) {
      known.push_back(label);
    }
    throw InvalidArgument(
        fmt::format("there is no reader '{}'; known: {}", name, fmt::join(known, ", ")));
  }
  return found;
}

}  // namespace alluvium::service
