#include "kv/observer.h"

#include "alluvium/core/error.h"
#include "alluvium/memory_bank/memory.h"

namespace alluvium::memory_bank {

const std::vector<std::string>& observer_names() {
  static const std::vector<std::string> names = {
      "repeat", "expected_attention", "tail", "h2o", "zipcache", "keydiff", "random"};
  return names;
}

std::unique_ptr<Observer> make_observer(const std::string& name, const ObserverContext& context) {
  if (name == "repeat") {
    return make_repeat_observer(context);
  }
  if (name == "expected_attention") {
    return make_expected_attention_observer(context);
  }
  if (name == "tail") {
    return make_tail_observer(context);
  }
  if (name == "h2o") {
    return make_h2o_observer(context);
  }
  if (name == "zipcache") {
    return make_zipcache_observer(context);
  }
  if (name == "keydiff") {
    return make_keydiff_observer(context);
  }
  ALLUVIUM_CHECK(name == "random", "unknown observer '{}'; known: {}", name,
                 fmt::join(observer_names(), ", "));
  return make_random_observer();
}

Random seeded_by(std::span<const backbone::TokenId> tokens) {
  const Digest digest = hash_tokens({tokens.begin(), tokens.end()});
  uint64_t seed = 0;
  for (std::size_t i = 0; i < sizeof(seed); ++i) {
    seed = seed << 8 | static_cast<uint8_t>(digest[i]);
  }
  return Random(seed);
}

}  // namespace alluvium::memory_bank
