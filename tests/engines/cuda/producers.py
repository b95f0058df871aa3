"""Stand-ins for other libraries' arrays on a GPU: both protocols, over memory of the tests' device.

What they hold is written in a stream of their own when it is first asked for, as a library's
kernels would, so that who reads it without waiting reads something else.
"""

import ctypes
import gc
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parmlp.engines.cuda.device import Device, Event, Memory, Stream

CUDA = 2
_CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}


class Written:
    """An array's bytes in the device's memory, and the stream that is still writing them."""

    def __init__(self, device: Device, array: NDArray[Any], stream: int | None = None) -> None:
        self.driver = device.driver
        own = np.array(array, order="K")
        # the bytes as they lie in memory, whatever the order of the axes
        flat = own.ravel(order="K")
        self.shape, self.strides, self.dtype = own.shape, own.strides, own.dtype
        self._host = device.pinned(flat.shape, flat.dtype)
        self._host[...] = flat
        self.memory: Memory | None = device.allocate(flat.nbytes)
        self.address = self.memory.address
        self.own_stream = Stream(device.driver)
        self.stream = self.own_stream.handle.value if stream is None else stream
        self.driver.call(
            "cuMemcpyHtoDAsync_v2",
            self.memory.at(0),
            self._host.ctypes.data,
            flat.nbytes,
            ctypes.c_void_p(self.stream),
        )


class Interface:
    """An array with ``__cuda_array_interface__`` alone; ``changes`` are to what it says."""

    def __init__(
        self, device: Device, array: NDArray[Any], *, stream: int | None = None, **changes: Any
    ) -> None:
        self.written = Written(device, array, stream)
        self.dtype = array.dtype
        said = {
            "shape": self.written.shape,
            "typestr": array.dtype.str,
            "data": (self.written.address, False),
            "strides": self.written.strides,
            "version": 3,
            "stream": self.written.stream,
            **changes,
        }
        self.__cuda_array_interface__ = {k: v for k, v in said.items() if v != "absent"}


class _Tensor(ctypes.Structure):
    """DLTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    )


class _Plain(ctypes.Structure):
    """DLManagedTensor."""

    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


class _Versioned(ctypes.Structure):
    """DLManagedTensorVersioned."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_new_capsule = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
)(("PyCapsule_New", ctypes.pythonapi))
# by address: a capsule whose destructor runs must not be referred to
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)


# A capsule's owner lives until its deleter was called. These stay: no callback may free itself.
_lent: list["Tensor"] = []


class Tensor:
    """An array with DLPack: of version 1.0 where the consumer asks for it, if ``versioned``.

    Attributes
    ----------
    exports, deleted : int
        Capsules made, and deleter calls. With each the memory is freed, and touching it a fault.
    """

    def __init__(
        self,
        device: Device,
        array: NDArray[Any],
        *,
        versioned: bool = False,
        major: int = 1,
        device_type: int = CUDA,
        device_id: int = 0,
        skip: int = 0,
        **changes: Any,
    ) -> None:
        self.written = Written(device, array)
        self.dtype = array.dtype
        self.exports = self.deleted = 0
        self.streams: list[int] = []
        self._versioned, self._major = versioned, major
        self._device = device_type, device_id
        shape, itemsize = list(array.shape), array.itemsize
        shape[0] -= skip
        strides = [stride // itemsize for stride in self.written.strides]
        self._shape = (ctypes.c_int64 * len(shape))(*shape)
        self._strides = (ctypes.c_int64 * len(shape))(*strides)
        said = {
            "data": self.written.address,
            "device_type": device_type,
            "device_id": device_id,
            "ndim": len(shape),
            "code": _CODES[array.dtype.kind],
            "bits": 8 * itemsize,
            "lanes": 1,
            "shape": ctypes.addressof(self._shape),
            # NULL means C-contiguous
            "strides": None if array.flags.c_contiguous else ctypes.addressof(self._strides),
            "byte_offset": skip * self.written.strides[0] if array.ndim else 0,
            **changes,
        }
        self._tensor = _Tensor(**said)
        self._delete = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._on_delete)
        self._name = b"dltensor_versioned" if versioned else b"dltensor"
        self._destroy = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(self._on_destroy)

    def _on_delete(self, managed: int) -> None:
        assert managed == ctypes.addressof(self._managed)
        self.deleted += 1
        self.written.memory = None

    def _on_destroy(self, capsule: int) -> None:
        """A capsule that nobody took gives its array back itself."""
        if _is_valid(capsule, self._name):
            self._on_delete(ctypes.addressof(self._managed))

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device

    def __dlpack__(self, *, stream: int, **options: Any) -> Any:
        if options and not self._versioned:
            raise TypeError(f"no such options: {options}")
        self.exports += 1
        self.streams.append(stream)
        _lent.append(self)
        written = Event(self.written.driver)
        written.record(self.written.own_stream)
        self.written.driver.call("cuStreamWaitEvent", stream, written.handle, 0)
        deleter = ctypes.cast(self._delete, ctypes.c_void_p)
        if self._versioned:
            self._managed: Any = _Versioned(
                major=self._major, deleter=deleter, flags=1, tensor=self._tensor
            )
        else:
            self._managed = _Plain(tensor=self._tensor, deleter=deleter)
        destroy = ctypes.cast(self._destroy, ctypes.c_void_p)
        return _new_capsule(ctypes.addressof(self._managed), self._name, destroy)


def collect() -> None:
    """Free what is not referred to any more."""
    gc.collect()
