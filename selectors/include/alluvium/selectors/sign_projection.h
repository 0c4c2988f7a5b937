// Random signs by counter, and the projections they make: dense, and on both sides of a gradient matrix.
//
// Source : Rademacher projection as in TRAK (Park et al., ICML 2023) and Adapt-inf; SplitMix64's finaliser (Steele, Lea, Flood, 2014).
//          Two-sided: as in LoGra (Choe et al., 2024).
// Differs: a sign is a function of seed, parameter and output alone, so every device and thread makes the same.
// Variance of the sketches' inner product, whose mean is <g1, g2>. With V(M) = ||M||^2 + tr(M^2) - 2 sum_i M_ii^2, the variance of
//          s^T M s over independent signs s:
//          dense    : V(g1 g2^T) / D for D outputs: (||g1||^2 ||g2||^2 + <g1, g2>^2 - 2 sum_p g1_p^2 g2_p^2) / D;
//          two-sided: V(G1 (C^T C / c) G2^T) / a over A [a, out] with C [c, in] as it is. Over C too, the mean of that, and V(G1^T G2) / c:
//                     more than a dense projection of D = a c has where the gradients are of low rank.
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace alluvium::selectors {

/// Signs of outputs 64 b to 64 b + 63 of parameter p: bit k set = plus.
uint64_t sign_word(uint64_t seed, int64_t parameter, int64_t block, int64_t outputs);

/// sum over p of sign(p, d) g[p], for d < outputs; divided by sqrt(outputs) when `scaled`, so that inner products keep their expectation.
/// Cost: g.size() * outputs additions. The oracle of the sketch; too slow for large models.
std::vector<float> project_dense(std::span<const float> g, int64_t outputs, uint64_t seed,
                                 bool scaled = true);

/// [rows, columns] of +-1, row by row: sign of output `row` of parameter `column`.
std::vector<float> sign_matrix(int64_t rows, int64_t columns, uint64_t seed);

}  // namespace alluvium::selectors
