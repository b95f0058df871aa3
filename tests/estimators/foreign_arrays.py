"""Stand-ins for other libraries' arrays: the protocols, and nothing else that NumPy could use."""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

CPU, CUDA, PINNED, METAL, ROCM, MANAGED = 1, 2, 3, 8, 10, 13


class Tensor:
    """An array that DLPack alone can read."""

    def __init__(self, array: NDArray[Any], device: int = CPU) -> None:
        self._array = array
        self._device = device
        self.dtype = array.dtype
        self.exports = 0

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device, 0

    def __dlpack__(self, **options: Any) -> Any:
        self.exports += 1
        return self._array.__dlpack__(**options)


class CudaArrayOnly:
    """An array on a GPU that has no DLPack, as Numba's."""

    dtype = np.dtype("float32")

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": "<f4",
            "data": (0xDEAD0000, False),  # whoever reads it crashes
            "version": 3,
        }


class _DataType(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Device(ctypes.Structure):
    _fields_ = (("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32))


class _ManagedTensor(ctypes.Structure):
    """DLManagedTensor, with its DLTensor written out."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("manager_ctx", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


class BFloat16Tensor:
    """A real DLPack capsule of a dtype that NumPy has not."""

    dtype = "bfloat16"

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._data = np.zeros(shape, np.uint16)
        self._shape = (ctypes.c_int64 * len(shape))(*shape)
        self._tensor = _ManagedTensor(
            data=self._data.ctypes.data,
            device=_Device(CPU, 0),
            ndim=len(shape),
            dtype=_DataType(4, 16, 1),
            shape=self._shape,
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU, 0

    def __dlpack__(self, **_: Any) -> Any:
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = (
            ctypes.py_object,
            (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p),
        )
        return new(ctypes.addressof(self._tensor), b"dltensor", None)


class BFloat16WithArray(BFloat16Tensor):
    """The same with a conversion to NumPy that fails, as PyTorch's."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Got unsupported ScalarType BFloat16")
