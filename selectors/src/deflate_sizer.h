// Sizes that stock zlib's deflate would give, without writing a byte.
//
// Source : the greedy and lazy rules of zlib 1.2.13 at levels 4 to 9 (deflate_slow), its hash chains (15 bits, three bytes), its limits and
//          its block choice, re-implemented for texts that fit one block and one window; everything else goes to zlib itself.
//          Checked against zlib on 10^5 random pairs in the tests.
// Purpose: C(xy) for many y costs the bytes of y alone. The parse of x is shared up to the first place where what follows x could change a
//          decision (a match that reaches its end); each text's hashes and chains are made once; nothing is copied or cleared a pair.
// Threads: as PairSizer.
#pragma once

#include <memory>

#include "pair_sizer.h"

namespace alluvium::selectors {

/// level 1 to 9; levels below 4 are zlib's.
std::unique_ptr<DeflateSizer> make_deflate_sizer(Texts targets, int64_t level);

}  // namespace alluvium::selectors
