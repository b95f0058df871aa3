"""A GPU: its memory, compiled programs, launches and graphs. It knows nothing of networks."""

import contextlib
import ctypes
import threading
import weakref
from collections.abc import Iterator, Sequence
from ctypes import byref, c_char_p, c_int, c_size_t, c_ulonglong, c_void_p, create_string_buffer
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from parmlp.engines.cuda import driver as api
from parmlp.engines.cuda.driver import Driver

_MULTIPROCESSORS = 16  # CU_DEVICE_ATTRIBUTE_*
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
_MOST_SHARED_BYTES = 97

# Of a stream whose kernels come before those of others that wait for room; the driver takes the
# highest that there is.
_URGENT = -100

# Programs kept loaded; others are unloaded with the last network that uses them.
_MOST_MODULES = 64

# What a kernel takes: a buffer, a place in one, an int, a structure by value, or None for null.
Argument: TypeAlias = "Memory | ctypes._SimpleCData[Any] | ctypes.Structure | int | None"


class Compiler(Protocol):
    """From CUDA C++ to what ``cuModuleLoadData`` loads."""

    def compile(self, source: str, kernels: Sequence[str], capability: tuple[int, int]) -> bytes:
        """Return the image of a program whose text is ``source`` and whose kernels are these."""


class Readable(Protocol):
    """Some memory of the device, whoever it belongs to."""

    @property
    def address(self) -> int: ...
    @property
    def nbytes(self) -> int: ...


class Memory:
    """Some memory of the device, freed with this object.

    Attributes
    ----------
    address : int
    nbytes : int
    """

    def __init__(self, driver: Driver, nbytes: int) -> None:
        pointer = c_ulonglong()
        driver.call("cuMemAlloc_v2", byref(pointer), max(nbytes, 1))
        self.address = pointer.value
        self.nbytes = nbytes
        weakref.finalize(self, driver.release, "cuMemFree_v2", self.address).atexit = False

    def at(self, offset: int) -> c_ulonglong:
        """Return the place ``offset`` bytes into this memory, as a kernel's argument."""
        return c_ulonglong(self.address + offset)


class Stream:
    """A queue of copies and launches.

    Parameters
    ----------
    driver : Driver
    priority : int, default=0
        0 is the lowest; less is more urgent.
    """

    def __init__(self, driver: Driver, priority: int = 0) -> None:
        self._driver = driver
        self.handle = c_void_p()
        driver.call("cuStreamCreateWithPriority", byref(self.handle), api.NON_BLOCKING, priority)

    def synchronize(self) -> None:
        """Wait until all that was queued is done; raise what failed."""
        self._driver.call("cuStreamSynchronize", self.handle)

    def wait(self, event: "Event") -> None:
        """Have what is queued from here on wait for ``event``."""
        self._driver.call("cuStreamWaitEvent", self.handle, event.handle, 0)


class Event:
    """A place in a stream that others can wait for."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.handle = c_void_p()
        driver.call("cuEventCreate", byref(self.handle), api.DISABLE_TIMING)
        weakref.finalize(self, driver.release, "cuEventDestroy_v2", self.handle).atexit = False

    def record(self, stream: Stream) -> None:
        """Mark the end of what is queued in ``stream`` now."""
        self._driver.call("cuEventRecord", self.handle, stream.handle)

    def synchronize(self) -> None:
        """Wait here until the stream has come by; at once where it was never recorded."""
        self._driver.call("cuEventSynchronize", self.handle)


class Kernel:
    """A function of a module, and how much dynamic shared memory a block of it takes."""

    def __init__(self, driver: Driver, module: "Module", name: str, shared_bytes: int) -> None:
        self._module = module  # keeps it loaded
        self.name = name
        self.handle = c_void_p()
        driver.call("cuModuleGetFunction", byref(self.handle), module.handle, name.encode())
        self.shared_bytes = shared_bytes
        if shared_bytes:
            driver.call(
                "cuFuncSetAttribute", self.handle, api.MAX_DYNAMIC_SHARED, c_int(shared_bytes)
            )

    def allow_wide_clusters(self, driver: Driver) -> None:
        """Allow clusters of more than the 8 blocks that every device with clusters can run."""
        driver.call("cuFuncSetAttribute", self.handle, api.WIDE_CLUSTERS, c_int(1))


class Module:
    """A compiled program on the device.

    Attributes
    ----------
    constants : dict of str to int
        What its kernel ``host_constants(int*)`` says of these names, in this order.
    """

    def __init__(self, device: "Device", image: bytes, constants: Sequence[str]) -> None:
        self._device = device
        self.handle = c_void_p()
        device.driver.call("cuModuleLoadData", byref(self.handle), c_char_p(image))
        weakref.finalize(self, device.driver.release, "cuModuleUnload", self.handle).atexit = False

        values = np.empty(len(constants), np.int32)
        memory = device.allocate(values.nbytes)
        tell = Kernel(device.driver, self, "host_constants", 0)
        device.launch(tell, (1, 1), 32, [memory])
        device.download(memory, values)
        self.constants = dict(zip(constants, values.tolist(), strict=True))

    def kernel(self, name: str) -> Kernel:
        """Return a kernel; its shared memory is what the program's ``<name>_shared`` says."""
        return Kernel(self._device.driver, self, name, self.constants[f"{name}_shared"])


class Graph:
    """Launches captured once, to be replayed by one call."""

    def __init__(self, driver: Driver, captured: c_void_p) -> None:
        self._driver = driver
        self.handle = c_void_p()
        try:
            driver.call("cuGraphInstantiateWithFlags", byref(self.handle), captured, 0)
        finally:
            driver.call("cuGraphDestroy", captured)
        weakref.finalize(self, driver.release, "cuGraphExecDestroy", self.handle).atexit = False

    def launch(self, stream: Stream) -> None:
        """Queue all of it."""
        self._driver.call("cuGraphLaunch", self.handle, stream.handle)


class Device:
    """One GPU, with a stream of its own and one for copies beside it.

    Parameters
    ----------
    driver : Driver
    compiler : Compiler
    ordinal : int, default=0

    Attributes
    ----------
    ordinal : int
        Which of the GPUs that CUDA shows this process.
    name : str
    capability : tuple of int
        Compute capability, (9, 0) for Hopper.
    multiprocessors : int
    shared_bytes : int
        The most shared memory that one block can have.
    total_bytes : int
        Of its memory.
    stream, copies : Stream
        What is queued in one runs in order; the two wait for each other by events alone.
    long_runs : tuple of two Stream
        For :meth:`run_beside`. They give way to ``stream``.
    lock : RLock
        Held by who uses the device: two threads' launches in one stream must not mix.
    """

    def __init__(self, driver: Driver, compiler: Compiler, ordinal: int = 0) -> None:
        self.driver = driver
        self.ordinal = ordinal
        self._compiler = compiler
        self._modules: dict[str, Module] = {}
        handle, context = c_int(), c_void_p()
        driver.call("cuDeviceGet", byref(handle), ordinal)
        driver.call("cuDevicePrimaryCtxRetain", byref(context), handle)
        driver.context = context
        self.make_current()
        name = create_string_buffer(100)
        driver.call("cuDeviceGetName", name, len(name), handle)
        self.name = name.value.decode(errors="replace")
        total = c_size_t()
        driver.call("cuDeviceTotalMem_v2", byref(total), handle)
        self.total_bytes = total.value
        self.capability = (
            self._attribute(handle, _CAPABILITY_MAJOR),
            self._attribute(handle, _CAPABILITY_MINOR),
        )
        self.multiprocessors = self._attribute(handle, _MULTIPROCESSORS)
        self.shared_bytes = self._attribute(handle, _MOST_SHARED_BYTES)
        self.stream, self.copies = Stream(driver, _URGENT), Stream(driver)
        self.long_runs = Stream(driver), Stream(driver)
        self.lock = threading.RLock()

    def _attribute(self, handle: c_int, attribute: int) -> int:
        value = c_int()
        self.driver.call("cuDeviceGetAttribute", byref(value), attribute, handle)
        return value.value

    def wait_for(self, stream: int) -> None:
        """Have what is queued from here on wait for what is queued now in another's stream.

        Parameters
        ----------
        stream : int
            A handle; 1 is the legacy default stream and 2 the calling thread's.
        """
        event = Event(self.driver)
        self.driver.call("cuEventRecord", event.handle, c_void_p(stream))
        self.stream.wait(event)

    def make_current(self) -> None:
        """Let the calling thread use this device; every thread that does must call it."""
        self.driver.call("cuCtxSetCurrent", self.driver.context)

    @contextlib.contextmanager
    def settled(self) -> Iterator[None]:
        """Let nothing be raised out of the context before all that was queued is done.

        So whoever lent memory to what is queued can have it back when the call has failed.
        """
        try:
            yield
        except BaseException:
            for stream in (self.copies, self.stream):
                with contextlib.suppress(api.CudaError):  # the first error is what is raised
                    stream.synchronize()
            raise

    # ------------------------------------------------------------------------------------ memory

    def free_bytes(self) -> int:
        """Return how much memory is free now."""
        free, total = c_size_t(), c_size_t()
        self.driver.call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value

    def allocate(self, nbytes: int) -> Memory:
        """Return memory; its contents are not defined."""
        return Memory(self.driver, nbytes)

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array in page-locked host memory, from which copies run beside the host."""
        nbytes = max(1, int(np.prod(shape)) * np.dtype(dtype).itemsize)
        pointer = c_void_p()
        self.driver.call("cuMemHostAlloc", byref(pointer), nbytes, 0)
        assert pointer.value is not None
        buffer = (ctypes.c_ubyte * nbytes).from_address(pointer.value)
        weakref.finalize(buffer, self.driver.release, "cuMemFreeHost", pointer).atexit = False
        array: NDArray[Any] = np.ndarray(shape, dtype, buffer=memoryview(buffer))
        return array

    def upload(
        self, memory: Memory, array: NDArray[Any], offset: int = 0, stream: Stream | None = None
    ) -> None:
        """Copy a C-contiguous array to the device, ``offset`` bytes into ``memory``.

        The array may be changed when this returns, unless it is pinned.
        """
        assert array.flags.c_contiguous
        assert offset + array.nbytes <= memory.nbytes
        if array.nbytes:
            handle = (stream or self.stream).handle
            self.driver.call(
                "cuMemcpyHtoDAsync_v2", memory.at(offset), array.ctypes.data, array.nbytes, handle
            )

    def download(self, memory: Readable, array: NDArray[Any], offset: int = 0) -> None:
        """Copy to a C-contiguous array, and wait for it."""
        assert array.flags.c_contiguous
        assert offset + array.nbytes <= memory.nbytes
        if array.nbytes:
            self.driver.call(
                "cuMemcpyDtoHAsync_v2",
                array.ctypes.data,
                c_ulonglong(memory.address + offset),
                array.nbytes,
                self.stream.handle,
            )
        self.stream.synchronize()

    def copy(self, to: Memory, source: Memory) -> None:
        """Copy memory of the device to memory of the same size."""
        assert to.nbytes == source.nbytes
        self.driver.call(
            "cuMemcpyDtoDAsync_v2", to.at(0), source.at(0), to.nbytes, self.stream.handle
        )

    def zero(self, memory: Memory) -> None:
        """Set memory to zero bytes."""
        self.driver.call("cuMemsetD8Async", memory.at(0), 0, memory.nbytes, self.stream.handle)

    # ---------------------------------------------------------------------------------- programs

    def load(self, source: str, kernels: Sequence[str], constants: Sequence[str]) -> Module:
        """Return a program compiled for this device; the same one for the same text.

        Parameters
        ----------
        source : str
        kernels, constants : sequence of str
            Its kernels besides ``host_constants``, and what that one tells.
        """
        module = self._modules.pop(source, None)
        if module is None:
            names = [*kernels, "host_constants"]
            image = self._compiler.compile(source, names, self.capability)
            module = Module(self, image, constants)
        self._modules[source] = module  # the last used at the end
        if len(self._modules) > _MOST_MODULES:
            del self._modules[next(iter(self._modules))]
        return module

    def launch(
        self,
        kernel: Kernel,
        grid: tuple[int, int],
        threads: int,
        arguments: Sequence[Argument],
        *,
        cluster: int = 1,
        stream: Stream | None = None,
    ) -> None:
        """Queue a kernel: ``grid`` blocks of ``threads``, in clusters of ``cluster`` along x."""
        config, attribute = _configuration(kernel, grid, threads, cluster)
        config.stream = (stream or self.stream).handle
        values = [_value(argument) for argument in arguments]
        pointers = (c_void_p * len(values))(
            *(ctypes.cast(ctypes.pointer(value), c_void_p) for value in values)
        )
        self.driver.call("cuLaunchKernelEx", byref(config), kernel.handle, pointers, None)
        del attribute  # the configuration points to it

    @contextlib.contextmanager
    def run_beside(self, stream: Stream) -> Iterator[None]:
        """Within the context a stream's work comes after all that is queued by now; wait for it.

        The calling thread can use the device, and must hold the lock when it launches; others can
        use it in between. Must not be entered with the lock held.
        """
        with self.lock:
            self.make_current()
            ready = Event(self.driver)
            ready.record(self.stream)
            stream.wait(ready)
        try:
            yield
        except BaseException:
            with contextlib.suppress(api.CudaError):
                stream.synchronize()  # what is raised is the first error
            raise
        stream.synchronize()

    def clusters_at_once(self, kernel: Kernel, threads: int, cluster: int) -> int:
        """Return how many clusters of this many blocks the device has room for at a time."""
        config, attribute = _configuration(kernel, (cluster, 1), threads, cluster)
        clusters = c_int()
        status = self.driver.status(
            "cuOccupancyMaxActiveClusters", byref(clusters), kernel.handle, byref(config)
        )
        del attribute
        return clusters.value if status == 0 else 0

    @contextlib.contextmanager
    def capture(self) -> Iterator[list[Graph]]:
        """Within the context launches are recorded, not run; the list gets the graph at its end."""
        result: list[Graph] = []
        # relaxed: the garbage collector may free memory of the device in this thread meanwhile
        self.driver.call("cuStreamBeginCapture_v2", self.stream.handle, api.CAPTURE_RELAXED)
        captured = c_void_p()
        try:
            yield result
        except BaseException:
            self.driver.status("cuStreamEndCapture", self.stream.handle, byref(captured))
            raise
        self.driver.call("cuStreamEndCapture", self.stream.handle, byref(captured))
        result.append(Graph(self.driver, captured))


def _configuration(
    kernel: Kernel, grid: tuple[int, int], threads: int, cluster: int
) -> tuple[api.LaunchConfig, api.LaunchAttribute]:
    config = api.LaunchConfig(
        grid_x=grid[0],
        grid_y=grid[1],
        grid_z=1,
        block_x=threads,
        block_y=1,
        block_z=1,
        shared_bytes=kernel.shared_bytes,
    )
    attribute = api.LaunchAttribute(id=api.CLUSTER_DIMENSION)
    if cluster > 1:
        attribute.value.cluster.x = cluster
        attribute.value.cluster.y = attribute.value.cluster.z = 1
        config.attributes = ctypes.pointer(attribute)
        config.n_attributes = 1
    return config, attribute


def _value(argument: Argument) -> Any:
    if isinstance(argument, Memory):
        return argument.at(0)
    if argument is None:
        return c_ulonglong(0)
    if isinstance(argument, int):
        return c_int(argument)
    return argument
