// Whether this machine's zlib gives the sizes that published ZIP-FIT scores were made with.
#pragma once

namespace alluvium::selectors {

/// Compares a few short texts at levels 1, 6 and 9 with stock zlib's sizes; computed once. Other deflate libraries under zlib's name
/// (zlib-ng, for one) give other sizes, and scores made with them are labelled non-reference.
bool zlib_is_reference();

}  // namespace alluvium::selectors
