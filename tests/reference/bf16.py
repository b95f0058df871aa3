"""Rounding to bfloat16: float32 with 8 bits of significand instead of 24."""

import numpy as np
import numpy.typing as npt

from .activations import Array


def round_to_bf16(values: npt.ArrayLike) -> Array:
    """Return values rounded to the nearest bfloat16, ties to even, as VCVTNE2PS2BF16 does.

    They go through float32, as they do in the core. Denormals become zero; NaN stays NaN.
    """
    single = np.asarray(values, dtype=np.float32)
    bits = single.view(np.uint32).astype(np.uint64)
    bits += 0x7FFF + (bits >> 16 & 1)
    rounded = (bits & 0xFFFF0000).astype(np.uint32).view(np.float32)
    rounded = np.where(np.abs(single) < np.finfo(np.float32).tiny, np.copysign(0, single), rounded)
    return np.where(np.isnan(single), single, rounded).astype(np.float64)
