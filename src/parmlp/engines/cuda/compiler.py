"""NVRTC by ctypes: CUDA C++ to a cubin for one GPU, kept on disk.

Only NVRTC itself is needed, no header of the toolkit: the kernels include nothing but each other.
"""

import contextlib
import ctypes
import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Iterator, Sequence
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from parmlp.engines.errors import EngineUnavailableError

# --fmad=true is the default: what must not fuse is written with care, as all else may.
_OPTIONS = ("--std=c++20", "--device-as-default-execution-space")

_INSTALL = (
    "Install it with 'pip install parmlp[cuda13]' (or parmlp[cuda12] for a driver older than 580)."
)


@cache
def kernel_sources() -> dict[str, str]:
    """Return the text of every file in ``kernels/``, by name."""
    folder = files("parmlp.engines.cuda") / "kernels"
    return {
        entry.name: entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".cuh")
    }


class Nvrtc:
    """The runtime compiler, as found on this machine.

    Parameters
    ----------
    newest : int, optional
        The newest major version of CUDA whose machine code the driver loads.

    Attributes
    ----------
    path : str
    version : tuple of int

    Raises
    ------
    EngineUnavailableError
        Where it is not installed, or too new for the driver.
    """

    def __init__(self, newest: int | None = None) -> None:
        too_new = None
        for path in _candidates():
            try:
                self._library = ctypes.CDLL(path)
            except OSError:
                continue
            self._library.nvrtcGetErrorString.restype = c_char_p
            self.path, self.version = path, self._version()
            if newest is None or self.version[0] <= newest:
                return
            too_new = self.version
        if too_new:
            raise EngineUnavailableError(
                f"engine='cuda' is not available: the driver speaks CUDA {newest}, and the runtime "
                f"compiler is NVRTC {too_new[0]}.{too_new[1]}. Install one that the driver takes "
                f"with 'pip install parmlp[cuda12]', or a newer driver (580 for CUDA 13)."
            )
        raise EngineUnavailableError(
            f"engine='cuda' is not available: NVIDIA's runtime compiler (NVRTC) was not found. "
            f"{_INSTALL} Or use engine='threads'."
        )

    def _version(self) -> tuple[int, int]:
        major, minor = c_int(), c_int()
        self._call("nvrtcVersion", byref(major), byref(minor))
        return major.value, minor.value

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            text = self._library.nvrtcGetErrorString(status).decode()
            raise RuntimeError(f"{name} failed: {text}")

    def architectures(self) -> list[int]:
        """Return the architectures that it compiles for, 90 for sm_90."""
        count = c_int()
        self._call("nvrtcGetNumSupportedArchs", byref(count))
        architectures = (c_int * count.value)()
        self._call("nvrtcGetSupportedArchs", architectures)
        return list(architectures)

    def cubin(self, source: str, architecture: str) -> bytes:
        """Compile; ``source`` may include the files of ``kernels/``.

        Raises
        ------
        RuntimeError
            With the compiler's messages: a defect of parmlp.
        """
        headers = kernel_sources()
        texts = (c_char_p * len(headers))(*(text.encode() for text in headers.values()))
        names = (c_char_p * len(headers))(*(name.encode() for name in headers))
        program = c_void_p()
        self._call(
            "nvrtcCreateProgram",
            byref(program),
            source.encode(),
            b"parmlp.cu",
            len(headers),
            texts,
            names,
        )
        try:
            options = [*_OPTIONS, f"--gpu-architecture={architecture}"]
            encoded = (c_char_p * len(options))(*(option.encode() for option in options))
            if self._library.nvrtcCompileProgram(program, len(options), encoded):
                raise RuntimeError(
                    f"NVRTC {self.version[0]}.{self.version[1]} could not compile parmlp's kernels "
                    f"for {architecture}:\n{self._text('nvrtcGetProgramLog', program).decode()}"
                )
            return self._text("nvrtcGetCUBIN", program)
        finally:
            self._call("nvrtcDestroyProgram", byref(program))

    def _text(self, getter: str, program: c_void_p) -> bytes:
        size = c_size_t()
        self._call(f"{getter}Size", program, byref(size))
        text = ctypes.create_string_buffer(size.value)
        self._call(getter, program, text)
        return text.raw


def _candidates() -> Iterator[str]:
    """Yield where NVRTC may be: pip's packages, a toolkit, the loader's own path."""
    package = importlib.util.find_spec("nvidia")
    for root in package.submodule_search_locations or () if package else ():
        for pattern in ("cu13/lib/libnvrtc.so.13", "cuda_nvrtc/lib/libnvrtc.so.12"):
            yield from map(str, Path(root).glob(pattern))
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if home := os.environ.get(variable):
            yield from map(str, sorted(Path(home).glob("lib64/libnvrtc.so.1[23]"), reverse=True))
    yield from ("libnvrtc.so.13", "libnvrtc.so.12")


def architecture(capability: tuple[int, int]) -> str:
    """Return the target to compile for; Hopper's own instructions need "sm_90a"."""
    return "sm_90a" if capability == (9, 0) else f"sm_{capability[0]}{capability[1]}"


class CachedCompiler:
    """NVRTC with a cache on disk: a network's kernels are compiled once a machine, not once a run.

    An entry's name is a hash of all that its contents depend on. Entries are written to a temporary
    file and renamed, so that a reader never sees half of one; one that is cut short all the same
    (a full disk) does not match its checksum and is compiled again.

    Parameters
    ----------
    nvrtc : Nvrtc
    folder : Path, optional
        Default: ``$PARMLP_CACHE``, or parmlp in the user's cache folder, then ``kernels``.
    """

    def __init__(self, nvrtc: Nvrtc, folder: Path | None = None) -> None:
        self._nvrtc = nvrtc
        self.folder = folder or _cache_folder()

    def compile(self, source: str, kernels: Sequence[str], capability: tuple[int, int]) -> bytes:
        """Return the cubin of a program for a device."""
        del kernels  # every kernel of the source is in the cubin
        target = architecture(capability)
        if capability[0] * 10 + capability[1] not in self._nvrtc.architectures():
            raise EngineUnavailableError(
                f"engine='cuda' is not available: NVRTC {self._nvrtc.version[0]}."
                f"{self._nvrtc.version[1]} ({self._nvrtc.path}) does not compile for compute "
                f"capability {capability[0]}.{capability[1]}. {_INSTALL}"
            )
        parts = [source, *kernel_sources().values(), *_OPTIONS, target, str(self._nvrtc.version)]
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        entry = self.folder / f"{key}.cubin"
        cubin = _read(entry)
        if cubin is None:
            cubin = self._nvrtc.cubin(source, target)
            _write(entry, cubin)
        return cubin


def _cache_folder() -> Path:
    if folder := os.environ.get("PARMLP_CACHE"):
        return Path(folder) / "kernels"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "parmlp" / "kernels"


def _read(entry: Path) -> bytes | None:
    try:
        content = entry.read_bytes()
    except OSError:
        return None
    checksum, cubin = content[:32], content[32:]
    return cubin if hashlib.sha256(cubin).digest() == checksum else None


def _write(entry: Path, cubin: bytes) -> None:
    # without a place to keep it the program still runs, and is compiled again next time
    with contextlib.suppress(OSError):
        entry.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=entry.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(cubin).digest() + cubin)
            os.replace(temporary, entry)
        except OSError:
            os.unlink(temporary)
            raise
