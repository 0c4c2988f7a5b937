// The stored form of a memory: one immutable, self-describing, checked record.
//
// Purpose: bytes that prove by themselves which document and which model they belong to
//          (docs/FORMATS.md, "Memory record").
// Threads: thread-safe functions.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "alluvium/memory_bank/kv_basis.h"
#include "alluvium/memory_bank/memory.h"

namespace alluvium::memory_bank {

/// Serialises a memory with tensors. Layer-major, sections aligned to 64 bytes, CRC-32C over header
/// and over payload.
std::vector<std::byte> encode_record(const Memory& memory);

/// Parses and checks a record: magic, version, lengths against the span, both CRCs. Tensors are
/// fresh copies. Throws DataCorruption naming what failed; NotSupported for a newer version, and for a
/// record that is written in a basis other than `basis`.
Memory decode_record(std::span<const std::byte> record, const KvBasis* basis = nullptr);

}  // namespace alluvium::memory_bank
