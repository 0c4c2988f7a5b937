// Named factories of one interface, filled by one explicit function per room.
//
// Threads: thread-compatible; fill it before threads start.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "alluvium/core/error.h"

namespace alluvium {

/// Registry<Codec, const CodecContext&> makes codecs by name from a context.
template <class Interface, class... Args>
class Registry {
 public:
  using Factory = std::function<std::unique_ptr<Interface>(Args...)>;

  /// `what` names the interface in errors, e.g. "codec".
  explicit Registry(std::string what) : what_(std::move(what)) {}

  /// Throws InvalidArgument when the name is taken.
  void add(const std::string& name, Factory factory) {
    ALLUVIUM_CHECK(factories_.emplace(name, std::move(factory)).second,
                   "{} '{}' is registered twice", what_, name);
  }

  /// Throws InvalidArgument on an unknown name, listing those known.
  std::unique_ptr<Interface> make(const std::string& name, Args... args) const {
    const auto found = factories_.find(name);
    ALLUVIUM_CHECK(found != factories_.end(), "unknown {} '{}'; known: {}", what_, name,
                   fmt::join(names(), ", "));
    return found->second(std::forward<Args>(args)...);
  }

  bool contains(const std::string& name) const { return factories_.count(name) > 0; }

  /// All names in alphabetical order.
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& [name, factory] : factories_) {
      names.push_back(name);
    }
    return names;
  }

 private:
  std::string what_;
  std::map<std::string, Factory> factories_;
};

}  // namespace alluvium
