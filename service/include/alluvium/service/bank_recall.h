// An instance's own memories for a sample's prompt: what dg_mem measures.
//
// Threads: owned by the scorer's thread; the engine is thread-safe.
#pragma once

#include <memory>

#include "alluvium/selectors/memory_recall.h"
#include "alluvium/service/configuration.h"
#include "alluvium/service/engine.h"

namespace alluvium::service {

/// Recalls the best document's memory as a question would get it: retrieval and codec as configured, the chunk that fits best. `engine`
/// must outlive it. Throws NotSupported when answer.codec stores no memories.
std::unique_ptr<selectors::MemoryRecall> make_bank_recall(Engine& engine,
                                                          const Configuration& configuration);

}  // namespace alluvium::service
