"""The CUDA driver API, by ctypes: the few functions of libcuda.so that the engine calls.

The C interface has been stable since CUDA 11.8, comes with every driver and needs no package, and a
library that implements it without a GPU can stand in for it: the tests' simulator does, so that all
of this package runs in tests as it runs on a device. docs/decisions/0020 says why not cuda-core.
"""

import ctypes
from collections.abc import Callable
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from functools import cache
from typing import Any

from parmlp.engines.errors import EngineUnavailableError

#: The oldest driver interface that has all of these functions, as cuDriverGetVersion counts.
OLDEST_DRIVER = 12000

_Handle = c_void_p
_DevicePointer = c_ulonglong

_OUT_OF_MEMORY = 2
_NO_DEVICE = 100
_NO_BINARY = 209
# after these the process's context is lost and every later call fails too
_FATAL = {214, 700, 702, 714, 715, 716, 717, 718, 719}

CLUSTER_DIMENSION = 4  # CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
WIDE_CLUSTERS = 14  # CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED
NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING
DISABLE_TIMING = 2  # CU_EVENT_DISABLE_TIMING
CAPTURE_RELAXED = 2  # CU_STREAM_CAPTURE_MODE_RELAXED


class _ClusterDimension(ctypes.Structure):
    _fields_ = (("x", c_uint), ("y", c_uint), ("z", c_uint))


class _LaunchAttributeValue(ctypes.Union):
    _fields_ = (("pad", ctypes.c_char * 64), ("cluster", _ClusterDimension))


class LaunchAttribute(ctypes.Structure):
    """CUlaunchAttribute."""

    _fields_ = (("id", c_uint), ("pad", ctypes.c_char * 4), ("value", _LaunchAttributeValue))


class LaunchConfig(ctypes.Structure):
    """CUlaunchConfig."""

    _fields_ = (
        ("grid_x", c_uint),
        ("grid_y", c_uint),
        ("grid_z", c_uint),
        ("block_x", c_uint),
        ("block_y", c_uint),
        ("block_z", c_uint),
        ("shared_bytes", c_uint),
        ("stream", _Handle),
        ("attributes", POINTER(LaunchAttribute)),
        ("n_attributes", c_uint),
    )


_PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "cuInit": (c_uint,),
    "cuDriverGetVersion": (POINTER(c_int),),
    "cuDeviceGetCount": (POINTER(c_int),),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetName": (c_char_p, c_int, c_int),
    "cuDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cuDeviceTotalMem_v2": (POINTER(c_size_t), c_int),
    "cuDevicePrimaryCtxRetain": (POINTER(_Handle), c_int),
    "cuCtxSetCurrent": (_Handle,),
    "cuGetErrorName": (c_int, POINTER(c_char_p)),
    "cuGetErrorString": (c_int, POINTER(c_char_p)),
    "cuMemGetInfo_v2": (POINTER(c_size_t), POINTER(c_size_t)),
    "cuMemAlloc_v2": (POINTER(_DevicePointer), c_size_t),
    "cuMemFree_v2": (_DevicePointer,),
    "cuMemHostAlloc": (POINTER(c_void_p), c_size_t, c_uint),
    "cuMemFreeHost": (c_void_p,),
    "cuMemcpyHtoDAsync_v2": (_DevicePointer, c_void_p, c_size_t, _Handle),
    "cuMemcpyDtoHAsync_v2": (c_void_p, _DevicePointer, c_size_t, _Handle),
    "cuMemcpyDtoDAsync_v2": (_DevicePointer, _DevicePointer, c_size_t, _Handle),
    "cuMemsetD8Async": (_DevicePointer, ctypes.c_ubyte, c_size_t, _Handle),
    "cuPointerGetAttribute": (c_void_p, c_int, _DevicePointer),
    "cuStreamCreateWithPriority": (POINTER(_Handle), c_uint, c_int),
    "cuStreamSynchronize": (_Handle,),
    "cuStreamWaitEvent": (_Handle, _Handle, c_uint),
    "cuStreamBeginCapture_v2": (_Handle, c_int),
    "cuStreamEndCapture": (_Handle, POINTER(_Handle)),
    "cuEventCreate": (POINTER(_Handle), c_uint),
    "cuEventDestroy_v2": (_Handle,),
    "cuEventRecord": (_Handle, _Handle),
    "cuEventSynchronize": (_Handle,),
    "cuModuleLoadData": (POINTER(_Handle), c_char_p),
    "cuModuleUnload": (_Handle,),
    "cuModuleGetFunction": (POINTER(_Handle), _Handle, c_char_p),
    "cuFuncSetAttribute": (_Handle, c_int, c_int),
    "cuOccupancyMaxActiveClusters": (POINTER(c_int), _Handle, POINTER(LaunchConfig)),
    "cuLaunchKernelEx": (POINTER(LaunchConfig), _Handle, POINTER(c_void_p), POINTER(c_void_p)),
    "cuGraphInstantiateWithFlags": (POINTER(_Handle), _Handle, c_ulonglong),
    "cuGraphDestroy": (_Handle,),
    "cuGraphExecDestroy": (_Handle,),
    "cuGraphLaunch": (_Handle, _Handle),
}


class CudaError(RuntimeError):
    """A call that the driver refused, or a fault on the device; the message says what to do."""


class CudaOutOfMemoryError(CudaError, MemoryError):
    """The device's memory does not suffice."""


class Driver:
    """The functions of a driver library, by name; each raises CudaError where it fails.

    Parameters
    ----------
    library : ctypes.CDLL

    Attributes
    ----------
    version : int
        Of CUDA, as ``cuDriverGetVersion`` counts: 13000 for 13.0.
    context : c_void_p
        What a device's user makes current in each thread.
    """

    context = c_void_p()

    def __init__(self, library: ctypes.CDLL) -> None:
        self._functions: dict[str, Callable[..., int]] = {}
        for name, argument_types in _PROTOTYPES.items():
            try:
                function = getattr(library, name)
            except AttributeError:
                raise EngineUnavailableError(
                    f"engine='cuda' is not available: the NVIDIA driver has no {name}. Install "
                    f"driver 525 or newer."
                ) from None
            function.argtypes = argument_types
            function.restype = c_int
            self._functions[name] = function
        version = c_int()
        self.call("cuDriverGetVersion", ctypes.byref(version))
        self.version = version.value

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of the driver.

        Raises
        ------
        CudaOutOfMemoryError, CudaError
        """
        status = self._functions[name](*arguments)
        if status:
            raise self._error(name, status)

    def status(self, name: str, *arguments: Any) -> int:
        """Call a function of the driver and return its status, 0 for success."""
        return self._functions[name](*arguments)

    def release(self, name: str, handle: Any) -> None:
        """Call a function that frees something, from whatever thread collects garbage."""
        self._functions["cuCtxSetCurrent"](self.context)
        self._functions[name](handle)

    def _error(self, function: str, status: int) -> CudaError:
        name, text = c_char_p(), c_char_p()
        self._functions["cuGetErrorName"](status, ctypes.byref(name))
        self._functions["cuGetErrorString"](status, ctypes.byref(text))
        what = (name.value or b"error").decode()
        said = f"{function} failed with {what} ({status}): {(text.value or b'').decode()}."
        if status == _OUT_OF_MEMORY:
            return CudaOutOfMemoryError(
                f"The GPU's memory does not suffice. {said} Use a smaller batch_size or network, "
                "end other programs on the GPU, or use engine='threads'."
            )
        if status in _FATAL:
            return CudaError(
                f"A kernel failed on the GPU. {said} The GPU cannot be used any more in this "
                "process: start a new one. This is a defect of parmlp or of the machine; please "
                "report it with the output of 'parmlp info'. engine='threads' trains the same."
            )
        if status == _NO_BINARY:
            return CudaError(f"The compiled kernels do not fit this GPU. {said}")
        return CudaError(f"CUDA: {said}")


@cache
def load_driver() -> Driver:
    """Return this machine's driver, initialized.

    Raises
    ------
    EngineUnavailableError
        Without a driver, with one that is too old, or without a GPU.
    """
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise EngineUnavailableError(
            "engine='cuda' is not available: this machine has no NVIDIA driver (libcuda.so.1 was "
            "not found). Install the driver of your NVIDIA GPU, or use engine='threads'."
        ) from None
    version = c_int()
    if library.cuDriverGetVersion(ctypes.byref(version)) or version.value < OLDEST_DRIVER:
        raise EngineUnavailableError(
            f"engine='cuda' is not available: the NVIDIA driver speaks CUDA "
            f"{version.value // 1000}.{version.value % 1000 // 10}, and parmlp needs 12.0. Install "
            "driver 525 or newer, or use engine='threads'."
        )
    driver = Driver(library)
    status = driver.status("cuInit", 0)
    if status == _NO_DEVICE:
        raise EngineUnavailableError(
            "engine='cuda' is not available: the NVIDIA driver finds no GPU. Look at 'nvidia-smi' "
            "and at CUDA_VISIBLE_DEVICES, or use engine='threads'."
        )
    if status:
        raise EngineUnavailableError(
            f"engine='cuda' is not available: the NVIDIA driver could not be started (cuInit "
            f"returned {status}). Look at 'nvidia-smi', or use engine='threads'."
        )
    return driver
