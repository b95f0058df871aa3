"""DLPack by ctypes: what another library's capsule says of an array, and handing the array back.

The structures are those of dlpack.h, versions 0 and 1: https://dmlc.github.io/dlpack/latest/c_api.html
"""

import ctypes
import weakref
from ctypes import POINTER, PYFUNCTYPE, c_char_p, c_int, c_void_p, create_string_buffer, py_object
from dataclasses import dataclass
from typing import Any

#: The newest version whose capsules are understood.
VERSION = (1, 0)

CUDA, CUDA_MANAGED = 2, 13  # kDLCUDA, kDLCUDAManaged

_TYPES = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 5: "complex"}  # DLDataTypeCode
_BOOL = 6


class _Device(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int32), ("ordinal", ctypes.c_int32))


class _DataType(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    """DLTensor."""

    _fields_ = (
        ("data", c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", POINTER(ctypes.c_int64)),
        ("strides", POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    """DLManagedTensor."""

    _fields_ = (("tensor", _Tensor), ("manager", c_void_p), ("deleter", c_void_p))


class _ManagedVersioned(ctypes.Structure):
    """DLManagedTensorVersioned."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager", c_void_p),
        ("deleter", c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


# A capsule's name, and the one that says it was taken; CPython keeps a pointer to the latter.
_NAMES = (
    (b"dltensor_versioned", create_string_buffer(b"used_dltensor_versioned"), _ManagedVersioned),
    (b"dltensor", create_string_buffer(b"used_dltensor"), _Managed),
)

# Prototypes of our own: those of ctypes.pythonapi are shared with whoever else sets them.
_is_valid = PYFUNCTYPE(c_int, py_object, c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))
_pointer = PYFUNCTYPE(c_void_p, py_object, c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))
_set_name = PYFUNCTYPE(c_int, py_object, c_char_p)(("PyCapsule_SetName", ctypes.pythonapi))

# With the interpreter's lock held: not every producer's deleter takes it.
_Deleter = PYFUNCTYPE(None, c_void_p)


class Loan:
    """Holds a producer's memory; its deleter is called once, when this is collected."""

    def __init__(self, managed: int, deleter: int | None) -> None:
        weakref.finalize(self, _give_back, managed, deleter).atexit = False


def _give_back(managed: int, deleter: int | None) -> None:
    if deleter:
        _Deleter(deleter)(managed)


@dataclass(frozen=True)
class Tensor:
    """An array as its producer describes it.

    Attributes
    ----------
    address : int
        Of its first element, offset included.
    shape : tuple of int
    strides : tuple of int or None
        In elements; None for C-contiguous.
    dtype : str
        In NumPy's names, and "bfloat16".
    device : tuple of int
        DLPack's type of device, and which of them.
    loan : Loan
        What keeps the memory valid.
    """

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    dtype: str
    device: tuple[int, int]
    loan: Loan


def export(array: Any, stream: int) -> Tensor:
    """Take an array from its producer, for use in a stream.

    Parameters
    ----------
    array : object with ``__dlpack__``
    stream : int
        A CUDA stream's handle. The producer has it wait for what still writes the array.

    Raises
    ------
    BufferError
        When the producer's capsule is of a kind or version that is not known.
    Exception
        Whatever the producer raises when it cannot give the array away.
    """
    try:
        capsule = array.__dlpack__(stream=stream, max_version=VERSION)
    except TypeError:  # older than max_version; raises again if it was something else
        capsule = array.__dlpack__(stream=stream)
    for name, used, structure in _NAMES:
        if _is_valid(capsule, name):
            address = _pointer(capsule, name)
            managed = structure.from_address(address)
            _set_name(capsule, used)
            return _described(managed, Loan(address, managed.deleter))
    raise BufferError("its __dlpack__ did not return a DLPack capsule")


def _described(managed: Any, loan: Loan) -> Tensor:
    if isinstance(managed, _ManagedVersioned) and managed.major > VERSION[0]:
        raise BufferError(
            f"its capsule is of DLPack {managed.major}.{managed.minor}, and parmlp knows "
            f"{VERSION[0]}"
        )
    tensor = managed.tensor
    return Tensor(
        address=(tensor.data or 0) + tensor.byte_offset,
        shape=tuple(tensor.shape[: tensor.ndim]) if tensor.ndim else (),
        strides=tuple(tensor.strides[: tensor.ndim]) if tensor.strides else None,
        dtype=_dtype(tensor.dtype),
        device=(tensor.device.kind, tensor.device.ordinal),
        loan=loan,
    )


def _dtype(dtype: _DataType) -> str:
    lanes = f"x{dtype.lanes}" if dtype.lanes != 1 else ""
    if dtype.code == _BOOL and dtype.bits == 8:
        return f"bool{lanes}"
    kind = _TYPES.get(dtype.code, f"DLPack's type {dtype.code} of bits ")
    return f"{kind}{dtype.bits}{lanes}"
