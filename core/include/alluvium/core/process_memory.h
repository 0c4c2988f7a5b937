// RAM of this process, its peak by stretches, and that of another.
//
// Source : proc(5): VmHWM of /proc/self/status; writing 5 to /proc/self/clear_refs resets it.
// Threads: thread-safe.
#pragma once

#include <cstdint>
#include <sys/types.h>

namespace alluvium {

/// Bytes resident now; 0 where the kernel does not say.
int64_t resident_bytes();

/// Gives the pages that the allocator keeps and nobody uses back to the system, in milliseconds; later allocations pay for them again. Does
/// nothing where the allocator is not glibc's.
void release_free_memory();

/// Begins a new stretch; without leave to reset, the peak since the process began goes on.
void reset_peak_rss();

/// Bytes resident at most since the last reset; 0 where the kernel does not say.
int64_t peak_rss_bytes();

/// The same of another process, since it began; 0 when it has ended.
int64_t peak_rss_bytes(pid_t process);

}  // namespace alluvium
