// What every memory record must survive: no change of a byte and no missing end passes as a memory.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/memory_bank/kv_record.h"
#include "support/catch.h"

namespace alluvium::tests {

/// Changes each byte in turn, and cuts the record at each length.
inline void require_damage_is_found(const std::vector<std::byte>& record) {
  Random random(5);
  for (std::size_t at = 0; at < record.size(); ++at) {
    CAPTURE(at);
    auto damaged = record;
    damaged[at] ^= static_cast<std::byte>(1 + random.below(255));
    REQUIRE_THROWS_AS(memory_bank::decode_record(damaged), DataCorruption);
    REQUIRE_THROWS_AS(memory_bank::decode_record(std::span(record).first(at)), DataCorruption);
  }
}

}  // namespace alluvium::tests
