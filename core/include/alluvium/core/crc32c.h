// CRC-32C (Castagnoli polynomial, reflected 0x82f63b78), the check of every stored record.
//
// Cost   : one SSE4.2 instruction for 8 bytes where the processor has it, else a 256-entry table.
// Threads: thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>

namespace alluvium {

/// CRC of `size` bytes, continuing from `crc` (0 to start): crc32c(b, n, crc32c(a, m)) covers a then b.
uint32_t crc32c(const void* bytes, std::size_t size, uint32_t crc = 0);

}  // namespace alluvium
