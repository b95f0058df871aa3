#define PARMLP_TARGET avx2
#include "kernels/target.inc"
