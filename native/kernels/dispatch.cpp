#include "kernels/dispatch.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

namespace parmlp {

namespace baseline {
extern const Kernels<float> kFloat32;
extern const Kernels<double> kFloat64;
}  // namespace baseline
#if defined(PARMLP_X86)
namespace avx2 {
extern const Kernels<float> kFloat32;
extern const Kernels<double> kFloat64;
}  // namespace avx2
namespace avx512 {
extern const Kernels<float> kFloat32;
extern const Kernels<double> kFloat64;
}  // namespace avx512
#endif
#if defined(PARMLP_BF16)
namespace avx512_bf16 {
extern const Bf16Kernels<float> kBf16;
}  // namespace avx512_bf16
#endif

namespace {

bool runs_here(Target target) {
#if defined(PARMLP_X86)
  switch (target) {
    case Target::baseline:
      return true;
    case Target::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Target::avx512:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  }
  return false;
#else
  return target == Target::baseline;
#endif
}

std::atomic<int> current{-1};

// Why bfloat16 kernels cannot run with the target in use; null if they can.
const char* bf16_obstacle() {
#if defined(PARMLP_BF16)
  if (!__builtin_cpu_supports("avx512bf16") || !runs_here(Target::avx512)) {
    return "this CPU lacks AVX512_BF16 (Zen 4, Cooper Lake, Sapphire Rapids and newer have it)";
  }
  if (current_target() != Target::avx512) {
    return "the SIMD target in use is not avx512 (PARMLP_SIMD chooses it)";
  }
  return nullptr;
#else
  return "this parmlp was built without the AVX512_BF16 kernels, which need x86-64 and a compiler that knows "
         "-mavx512bf16";
#endif
}

}  // namespace

const char* name(Target target) {
  switch (target) {
    case Target::baseline:
      return "baseline";
    case Target::avx2:
      return "avx2";
    case Target::avx512:
      return "avx512";
  }
  return "?";
}

std::vector<Target> available_targets() {
  std::vector<Target> targets;
  for (const Target target : {Target::baseline, Target::avx2, Target::avx512}) {
    if (runs_here(target)) targets.push_back(target);
  }
  return targets;
}

Target target_named(const std::string& wanted) {
  std::string known;
  for (const Target target : available_targets()) {
    if (wanted == name(target)) return target;
    known += (known.empty() ? "" : ", ") + std::string(name(target));
  }
  throw std::runtime_error("SIMD target '" + wanted +
                           "' is unknown or this CPU lacks its instructions; this machine runs: " + known);
}

Target current_target() {
  int target = current.load(std::memory_order_relaxed);
  if (target < 0) {
    const char* wanted = std::getenv("PARMLP_SIMD");
    target = static_cast<int>(wanted && *wanted ? target_named(wanted) : available_targets().back());
    current.store(target, std::memory_order_relaxed);
  }
  return static_cast<Target>(target);
}

void set_current_target(Target target) { current.store(static_cast<int>(target), std::memory_order_relaxed); }

bool runs_bf16() { return !bf16_obstacle(); }

const Bf16Kernels<float>& bf16_kernels() {
#if defined(PARMLP_BF16)
  if (runs_bf16()) return avx512_bf16::kBf16;
#endif
  throw std::runtime_error(std::string("precision 'bf16' cannot be used: ") + bf16_obstacle() +
                           "; precision 'full' runs everywhere");
}

template <class T>
const Kernels<T>& kernels_for(Target target) {
  constexpr bool kSingle = sizeof(T) == 4;
#define PARMLP_PICK(TARGET)  \
  if constexpr (kSingle) {   \
    return TARGET::kFloat32; \
  } else {                   \
    return TARGET::kFloat64; \
  }
  switch (target) {
#if defined(PARMLP_X86)
    case Target::avx512:
      PARMLP_PICK(avx512)
    case Target::avx2:
      PARMLP_PICK(avx2)
#endif
    default:
      PARMLP_PICK(baseline)
  }
#undef PARMLP_PICK
}

template const Kernels<float>& kernels_for<float>(Target);
template const Kernels<double>& kernels_for<double>(Target);

}  // namespace parmlp
