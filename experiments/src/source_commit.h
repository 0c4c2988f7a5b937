// The commit the program was configured from.
#pragma once

namespace alluvium::experiments {

/// Abbreviated commit id; "unknown" outside a git checkout.
const char* source_commit();

}  // namespace alluvium::experiments
