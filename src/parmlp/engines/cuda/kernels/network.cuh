// The network at hand: its layers are constants of the program.
#pragma once

#include "activations.cuh"

using Hidden = PARMLP_HIDDEN_ACTIVATION;
using Output = PARMLP_OUT_ACTIVATION;

constexpr int kUnits[] = {PARMLP_LAYER_UNITS};  // inputs first
constexpr int kLayers = sizeof(kUnits) / sizeof(int) - 1;
constexpr int kFeatures = kUnits[0], kOutputs = kUnits[kLayers];

// Layer l lies in one arena as a matrix of (units_in + 1) x units_out, row by row; the last row is its bias.
__device__ inline constexpr int units_in(int layer) { return kUnits[layer]; }
__device__ inline constexpr int units_out(int layer) { return kUnits[layer + 1]; }

__device__ inline constexpr long long layer_offset(int layer) {
  long long offset = 0;
  for (int l = 0; l < layer; ++l) offset += (units_in(l) + 1LL) * units_out(l);
  return offset;
}

constexpr long long kParameters = layer_offset(kLayers);

// Units of the layers before `layer`, inputs apart: where a layer's outputs begin among all of one row.
__device__ inline constexpr int unit_offset(int layer) {
  int offset = 0;
  for (int l = 0; l < layer; ++l) offset += units_out(l);
  return offset;
}

constexpr int kWidest = [] {
  int widest = 0;
  for (int l = 0; l < kLayers; ++l) widest = units_out(l) > widest ? units_out(l) : widest;
  return widest;
}();

// for_each_layer calls visit(Constant<0>{}), visit(Constant<1>{}), ... with l usable as a constant.
template <int kValue>
struct Constant {
  __device__ constexpr operator int() const { return kValue; }
};

template <int kFirst, int kEnd, class Visit>
__device__ __forceinline__ void for_each_layer(Visit visit) {
  if constexpr (kFirst < kEnd) {
    visit(Constant<kFirst>{});
    for_each_layer<kFirst + 1, kEnd>(visit);
  }
}

// The same from kFirst down to kEnd.
template <int kFirst, int kEnd, class Visit>
__device__ __forceinline__ void for_each_layer_down(Visit visit) {
  if constexpr (kFirst >= kEnd) {
    visit(Constant<kFirst>{});
    for_each_layer_down<kFirst - 1, kEnd>(visit);
  }
}
