"""Arrays of other libraries in a GPU's memory (CuPy, PyTorch, JAX, Numba), read where they lie.

They come by DLPack (``__dlpack__``) or, without it, by ``__cuda_array_interface__``, version 3.
Nothing is copied, converted or written: what the kernels cannot read as it is, is an error.
"""

import ctypes
import math
from ctypes import byref, c_int, c_ulonglong
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parmlp.engines.cuda import dlpack
from parmlp.engines.cuda.device import Device
from parmlp.engines.cuda.programs import program_text

_DEVICE_ORDINAL = 9  # CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL

_LEGACY_STREAM = 1  # CU_STREAM_LEGACY, as the CUDA array interface numbers it too
_STREAMS_SINCE = 3  # the first version of the interface that speaks of streams

_LOOK_THREADS = 256  # kFiniteThreads


class DeviceArray:
    """An array in a GPU's memory, C-contiguous, that belongs to another library.

    Attributes
    ----------
    address : int
    shape : tuple of int
    dtype : numpy dtype
    nbytes : int

    Notes
    -----
    Its owner's memory is held as long as this lives. The device's stream waits for what wrote it.
    """

    def __init__(
        self,
        device: Device,
        address: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        owner: object,
    ) -> None:
        self._device = device
        self._owner = owner
        self.address = address
        self.shape = shape
        self.dtype = dtype
        self.nbytes = math.prod(shape) * dtype.itemsize

    def to_host(self) -> NDArray[Any]:
        """Return a copy in the CPU's memory."""
        array: NDArray[Any] = np.empty(self.shape, self.dtype)
        with self._device.lock, self._device.settled():
            self._device.make_current()
            self._device.download(self, array)
        return array

    def find_nonfinite(self) -> float | None:
        """Return NaN if there is one, else infinity if there is one, else None.

        The array must be of float32 or float64.
        """
        if self.nbytes == 0:
            return None
        device = self._device
        answer = np.empty(2, np.int32)
        with device.lock, device.settled():
            device.make_current()
            real = {"float32": "float", "float64": "double"}[str(self.dtype)]
            told = ("look_for_nonfinite_shared",)
            text = program_text({"REAL": real}, "finite.cuh", told)
            module = device.load(text, ("look_for_nonfinite",), told)
            found = device.allocate(answer.nbytes)
            device.zero(found)
            count = self.nbytes // self.dtype.itemsize
            blocks = min(-(-count // _LOOK_THREADS), 16 * device.multiprocessors)
            device.launch(
                module.kernel("look_for_nonfinite"),
                (blocks, 1),
                _LOOK_THREADS,
                [c_ulonglong(self.address), ctypes.c_longlong(count), found],
            )
            device.download(found, answer)
        if answer[0]:
            return math.nan
        return math.inf if answer[1] else None


@dataclass(frozen=True)
class PickedRows:
    """Some rows of a device array, by number; they stay where they are.

    Attributes
    ----------
    array : DeviceArray of shape (n_rows, n_features)
    ids : ndarray of int64 of shape (n_picked,)
        Valid rows of it.
    """

    array: DeviceArray
    ids: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """(n_picked, n_features)."""
        return len(self.ids), self.array.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The array's."""
        return self.array.dtype


def describe(array: Any) -> str:
    """Return what kind of array this is, for errors: "a torch.Tensor of torch.float32"."""
    kind = type(array)
    dtype = getattr(array, "dtype", None)
    text = f"a {kind.__module__}.{kind.__qualname__}"
    return text if dtype is None else f"{text} of {dtype}"


def is_device_array(array: Any) -> bool:
    """Whether an object says that it is an array in CUDA memory, a GPU's or managed.

    Raises
    ------
    Exception
        Whatever the object's own ``__dlpack_device__`` raises.
    """
    if hasattr(array, "__dlpack_device__"):
        return int(array.__dlpack_device__()[0]) in (dlpack.CUDA, dlpack.CUDA_MANAGED)
    return hasattr(array, "__cuda_array_interface__")


def device_array(array: Any, name: str, device: Device) -> DeviceArray:
    """Return another library's array for use on a device, where it lies.

    Parameters
    ----------
    array : object
        For which :func:`is_device_array` is true.
    name : str
        What errors call it.
    device : Device

    Raises
    ------
    ValueError
        When it lies on another device, is not C-contiguous, is masked, has a dtype that NumPy has
        not, such as bfloat16, or when its producer cannot give it away. The message says what to
        do.
    """
    what = f"{name}, {describe(array)}, "
    with device.lock:
        device.make_current()
        if hasattr(array, "__dlpack_device__"):
            address, shape, strides, dtype_name, owner = _by_dlpack(array, name, what, device)
        else:
            address, shape, strides, dtype_name, owner = _by_interface(array, name, what, device)
    try:
        dtype = np.dtype(dtype_name)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "biufc" or not dtype.isnative:
        raise ValueError(
            f"{what}has elements of {dtype_name}, which engine='cuda' does not read: pass "
            f"{name}.float() (PyTorch) or {name}.astype('float32') (CuPy, JAX)."
        )
    if strides is not None and not _is_contiguous(shape, strides, dtype.itemsize):
        raise ValueError(
            f"{what}of shape {shape} is not C-contiguous (strides of {strides} bytes), and "
            f"engine='cuda' makes no copy unasked: pass {name}.contiguous() (PyTorch), "
            f"cupy.ascontiguousarray({name}) (CuPy) or {name}.copy() (Numba)."
        )
    if address % dtype.itemsize:
        raise ValueError(
            f"{what}lies at an address, {address:#x}, that is no multiple of its elements' "
            f"{dtype.itemsize} bytes: pass a copy of it, such as {name}.clone() (PyTorch) or "
            f"{name}.copy() (CuPy)."
        )
    return DeviceArray(device, address, shape, dtype, owner)


_Parts = tuple[int, tuple[int, ...], tuple[int, ...] | None, str, object]


def _by_dlpack(array: Any, name: str, what: str, device: Device) -> _Parts:
    """Return address, shape, strides in bytes, dtype and owner."""
    # Asked before the array is taken: a producer may refuse another device's stream.
    _check_ordinal(int(array.__dlpack_device__()[1]), name, what, device)
    try:
        tensor = dlpack.export(array, device.stream.handle.value or 0)
    except Exception as error:
        raise ValueError(
            f"{what}could not be taken by DLPack ({error}): pass a dense array that needs no "
            f"gradient, such as {name}.detach() (PyTorch)."
        ) from error
    if tensor.device[0] not in (dlpack.CUDA, dlpack.CUDA_MANAGED):
        raise ValueError(
            f"{what}says that it is on a CUDA GPU, and gives away memory of DLPack's device type "
            f"{tensor.device[0]}: this is a defect of its library."
        )
    _check_ordinal(tensor.device[1], name, what, device)
    strides = tensor.strides
    if strides is not None:
        try:
            itemsize = np.dtype(tensor.dtype).itemsize
        except TypeError:
            itemsize = 1  # an error to come, of the dtype
        strides = tuple(stride * itemsize for stride in strides)
    return tensor.address, tensor.shape, strides, tensor.dtype, tensor.loan


def _by_interface(array: Any, name: str, what: str, device: Device) -> _Parts:
    """Return address, shape, strides in bytes, dtype and owner."""
    try:
        interface = dict(array.__cuda_array_interface__)
        address = int(interface["data"][0] or 0)
        shape = tuple(int(n) for n in interface["shape"])
        dtype = str(interface["typestr"])
        version = int(interface["version"])
    except Exception as error:
        raise ValueError(
            f"{what}has a __cuda_array_interface__ that cannot be read ({error!r}): this is a "
            "defect of its library."
        ) from error
    if interface.get("mask") is not None:
        raise ValueError(
            f"{what}is masked, and engine='cuda' trains on whole arrays: fill the masked elements."
        )
    if math.prod(shape):
        ordinal = c_int()
        if device.driver.status(
            "cuPointerGetAttribute", byref(ordinal), _DEVICE_ORDINAL, c_ulonglong(address)
        ):
            raise ValueError(
                f"{what}lies at {address:#x}, which is not CUDA's memory: was it freed, or made "
                "in another process?"
            )
        _check_ordinal(ordinal.value, name, what, device)
        # None: there is nothing to wait for. Versions before streams meant the default one.
        stream = interface.get("stream", None if version >= _STREAMS_SINCE else _LEGACY_STREAM)
        if stream is not None:
            if int(stream) == 0:
                raise ValueError(
                    f"{what}has the stream 0, which __cuda_array_interface__ forbids as it may "
                    "mean several: this is a defect of its library."
                )
            device.wait_for(int(stream))
    # the dictionary too: an owner may make the memory's holder part of it
    owner = (array, interface)
    strides = interface.get("strides")
    if strides is not None:
        strides = tuple(int(stride) for stride in strides)
    return address, shape, strides, dtype, owner


def _check_ordinal(ordinal: int, name: str, what: str, device: Device) -> None:
    if ordinal != device.ordinal:
        raise ValueError(
            f"{what}is on CUDA device {ordinal}, and engine='cuda' runs on device "
            f"{device.ordinal}: pass {name}.to('cuda:{device.ordinal}') (PyTorch), or start "
            f"Python with the GPU to use first in CUDA_VISIBLE_DEVICES."
        )


def _is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> bool:
    if math.prod(shape) == 0:
        return True
    expected = itemsize
    for n, stride in zip(reversed(shape), reversed(strides), strict=True):
        if n > 1 and stride != expected:
            return False
        expected *= n
    return True
