// Catch2, version 2 or 3, by one name.
#pragma once

// Torch's logging has a CHECK of its own, which ends the program. Whoever includes it first, Catch's is the one tests mean.
#if __has_include(<c10/util/Logging.h>)
#include <c10/util/Logging.h>
#undef CHECK
#endif

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif
