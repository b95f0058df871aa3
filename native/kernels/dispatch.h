// Which SIMD target runs: the widest this machine has, unless PARMLP_SIMD names another.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace parmlp {

const char* name(Target target);
// Those built into this library that this machine can execute, from the plainest.
std::vector<Target> available_targets();
// Throws std::runtime_error when the name is unknown or this machine lacks the instructions.
Target target_named(const std::string& name);
// The target in use; the first call reads PARMLP_SIMD.
Target current_target();
void set_current_target(Target target);
// The kernels in bfloat16, which go with the target avx512 on CPUs that have AVX512_BF16. Throws
// std::runtime_error, saying what is missing, where they cannot run with the target in use.
const Bf16Kernels<float>& bf16_kernels();
bool runs_bf16();

}  // namespace parmlp
