// Whether this machine's zlib gives the sizes that published ZIP-FIT scores were made with.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "pair_sizer.h"

namespace alluvium::selectors {

/// Compares a few short texts at levels 1, 6 and 9 with stock zlib's sizes; computed once. Other deflate libraries under zlib's name
/// (zlib-ng, for one) give other sizes, and scores made with them are labelled non-reference.
bool zlib_is_reference();

/// The comparison itself, of any sizer: `make_sizer` gives one for a level.
bool gives_reference_sizes(
    const std::function<std::unique_ptr<PairSizer>(int64_t level)>& make_sizer);

}  // namespace alluvium::selectors
