// How functions shared by several SIMD targets are inlined.
#pragma once

// Everything a kernel unit includes is forced inline: an out-of-line copy compiled with AVX-512 flags
// could be merged by the linker into the code that every machine runs.
#define PARMLP_INLINE __attribute__((always_inline)) inline
