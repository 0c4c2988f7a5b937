#include "source_commit.h"

namespace alluvium::experiments {

const char* source_commit() { return ALLUVIUM_COMMIT; }

}  // namespace alluvium::experiments
