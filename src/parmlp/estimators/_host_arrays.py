"""Arrays of other libraries (PyTorch, JAX, CuPy) as NumPy arrays on the same memory.

They are taken by DLPack (``__dlpack__``, ``__dlpack_device__``), the array API standard's exchange
protocol, so no element is copied. Memory that this CPU cannot read is an error for the CPU engines:
copying it from a GPU may take longer than the training, so it must be asked for. With
``engine="cuda"`` X stays where it is (``_device_rows.py``); y and weights, which are small and must
be looked at here, are copied.
"""

from typing import Any

import numpy as np
from scipy import sparse

from parmlp.engines.cuda.arrays import describe, is_device_array
from parmlp.engines.cuda.team import take_array

# DLPack's device types, of which NumPy can read these: the CPU's memory, and the pinned memory that
# CUDA and ROCm have on the CPU's side.
_READABLE = frozenset({1, 3, 11})
_CUDA, _OF_CUDA = 2, (2, 13)
_DEVICES = {
    2: "a CUDA GPU",
    4: "an OpenCL device",
    7: "a Vulkan device",
    8: "a Metal GPU",
    10: "a ROCm GPU",
    13: "CUDA managed memory",
    14: "a oneAPI device",
    15: "a WebGPU device",
}


def host_array(array: Any, name: str, engine: str = "auto") -> Any:
    """Return ``array`` as a NumPy array on the same memory, if it is another library's array.

    Anything else (NumPy's own arrays, lists, data frames, sparse matrices, None) is returned as it
    is, for scikit-learn's validation to judge.

    Parameters
    ----------
    array : object
        What a user gave as X, y or sample_weight.
    name : str
        Its name, for errors.
    engine : str, default="auto"
        The estimator's. With "cuda" an array in a GPU's memory is copied from there.

    Raises
    ------
    ValueError
        When the array is on a GPU that the engine does not use, or NumPy cannot read its elements
        (bfloat16, say) or its layout. The message says how to convert it.
    """
    if array is None or isinstance(array, np.ndarray | list | tuple) or sparse.issparse(array):
        return array
    if not hasattr(array, "__dlpack_device__"):
        # which a CUDA array alone has; Numba's have nothing else
        if hasattr(array, "__cuda_array_interface__"):
            if engine == "cuda":
                return take_array(array, name).to_host()
            raise _not_on_the_cpu(array, name, _CUDA)
        return array
    try:
        device = int(array.__dlpack_device__()[0])
    except Exception as error:  # on a device that DLPack does not know, such as a TPU
        raise _not_for_numpy(array, name, error) from error
    if device not in _READABLE:
        if engine == "cuda" and is_device_array(array):
            return take_array(array, name).to_host()
        raise _not_on_the_cpu(array, name, device)
    try:
        return np.from_dlpack(array)
    except Exception as error:
        # pyarrow's strings, say, are not for DLPack, but have a conversion of their own
        if not hasattr(array, "__array__"):
            raise _not_for_numpy(array, name, error) from error
    try:
        return np.asarray(array)
    except Exception as error:
        raise _not_for_numpy(array, name, error) from error


def _not_on_the_cpu(array: Any, name: str, device: int) -> ValueError:
    where = _DEVICES.get(device, f"a device of DLPack's type {device}")
    stay = ", or set engine='cuda', which takes it where it is" if device in _OF_CUDA else ""
    return ValueError(
        f"{name}, {describe(array)}, is on {where}, and parmlp does not copy it from there "
        f"unasked: pass {name}.cpu() (PyTorch), cupy.asnumpy({name}) (CuPy), "
        f"jax.device_get({name}) (JAX) or {name}.copy_to_host() (Numba){stay}."
    )


def _not_for_numpy(array: Any, name: str, error: Exception) -> ValueError:
    return ValueError(
        f"{name}, {describe(array)}, could not be read as a NumPy array ({error}). "
        f"Pass a dense array on the CPU of a dtype that NumPy has, such as "
        f"{name}.detach().float() (PyTorch) or {name}.astype('float32')."
    )
