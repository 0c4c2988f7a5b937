// What quantisation took from a head's keys or values, as two thin factors.
//
// Purpose: codec.residual_rank: added to what codes and scales give, they bring rows nearer to what
//          they were, for 2 r (rows + channels) float16 a head.
// Source : GEAR (Kang et al., 2024): power iteration on the residual E of a head, Q = E P and P = E^T
//          Q in turn, with bases made orthonormal; E is near Q P^T. Three rounds, as in its code.
// Differs: P starts from fixed numbers, so that a chunk always gives the same record; bases are made
//          orthonormal in every round, not in the last alone; factors that do not bring a head nearer
//          once they are float16 are stored as 0; no sparse outliers, which a scale for each channel
//          and 32 rows leaves little to do.
// Cost   : O(rounds rows channels r) multiply-adds a head to make, O(rows channels r) to add.
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace alluvium::memory_bank {

/// `rank` columns each, one after the other. Those a matrix of lower rank has no use for are 0.
struct Factors {
  std::vector<double> left;   ///< [rank][rows], orthonormal
  std::vector<double> right;  ///< [rank][channels]
};

/// matrix: [rows, channels]. start: [rank][channels], the first P. rounds: 1 or more.
Factors factorise(const std::vector<double>& matrix, int64_t rows, int64_t channels,
                  std::vector<double> start, int64_t rounds);

/// Bytes of the factors: float16 left [r][rows], then right [r][channels], where r is the least of
/// rank, rows and channels.
std::size_t residual_bytes(int64_t rows, int64_t channels, int64_t rank);

/// exact, decoded: [rows, channels], before and after quantisation.
void write_residual(const float* exact, const float* decoded, int64_t rows, int64_t channels,
                    int64_t rank, std::byte* out);

void add_residual(const std::byte* bytes, int64_t rows, int64_t channels, int64_t rank,
                  float* decoded);

}  // namespace alluvium::memory_bank
