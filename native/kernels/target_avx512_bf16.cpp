#define PARMLP_TARGET avx512_bf16
#define PARMLP_BF16_KERNELS
#include "kernels/target.inc"
