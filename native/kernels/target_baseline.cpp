#define PARMLP_TARGET baseline
#include "kernels/target.inc"
