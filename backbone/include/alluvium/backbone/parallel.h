// at::parallel_for(begin, end, grain, body), sure to run on more than one thread.
//
// Purpose: ATen's loop is a template, which without OpenMP becomes a plain loop and says nothing. Include this
//          instead of its header; a room that does is compiled with ALLUVIUM_PARALLEL_FOR (cmake).
// Threads: the body runs on the threads of models.threads, in one piece within another such loop. It must not
//          name a thread_local variable of its caller, which each thread has its own of.
#pragma once

#ifndef _OPENMP
#error "at::parallel_for would run on one thread: compile this room with ALLUVIUM_PARALLEL_FOR"
#endif

#include <ATen/Parallel.h>
