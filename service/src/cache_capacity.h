// What a bound on the whole program leaves to the cache of decoded memories.
//
// Threads: pure function.
#pragma once

#include <cstddef>

namespace alluvium::service {

/// Reading a batch of documents and answering beside it, measured with the default models, in bytes.
constexpr std::size_t kWorkBytes = std::size_t{768} << 20;

/// All in bytes. `resident`: held already, by the models and the index. memory_bytes 0: no bound, cache_bytes as it is. Throws InvalidArgument
/// when memory_bytes does not cover what is held and the work in hand.
std::size_t cache_capacity(std::size_t cache_bytes, std::size_t memory_bytes, std::size_t resident);

}  // namespace alluvium::service
