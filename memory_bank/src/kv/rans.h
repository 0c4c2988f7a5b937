// Symbols of a few bits by how often they occur: range asymmetric numeral systems (rANS).
//
// Purpose: the coder under codec.entropy = rans, for one kind of number of a layer at a time.
// Source : Duda, arXiv 1311.2540 (2013); that the codes of keys and values are worth coding by their
//          frequencies: CacheGen (Liu et al., SIGCOMM 2024).
// Differs: CacheGen keeps a table for each layer and channel in 16 bits a symbol. Such tables would
//          have to be calibrated for each model and shipped with it, since in a document's own record
//          they take half of what is coded. Here the table is the document's own, one for all
//          channels and heads of a layer, and half a byte a symbol: frequencies in steps of the square
//          root of 2 (of 2 for the rare), which costs some 0.01 bits a symbol.
// Layout : the table: for alphabets of 256 a mask of the 16 blocks of 16 symbols that occur, u16; for
//          each symbol of those blocks (of smaller alphabets: each symbol) 4 bits, the first in the
//          lowest: 0 it does not occur, q it has kWeights[q]. Then the symbols, kv/rans_stream.h: even ones of the
//          first of two states, odd ones of the second.
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace alluvium::memory_bank {

/// bits: 2, 3, 4 or 8; every symbol below 2^bits; at least one symbol.
std::vector<std::byte> encode_rans(std::span<const uint8_t> symbols, int64_t bits);

/// As many symbols as were coded. Throws DataCorruption when the bytes do not end where they should, or the table is none.
void decode_rans(std::span<const std::byte> coded, int64_t bits, std::span<uint8_t> symbols);

}  // namespace alluvium::memory_bank
