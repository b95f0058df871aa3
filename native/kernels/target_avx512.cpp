#define PARMLP_TARGET avx512
#include "kernels/target.inc"
