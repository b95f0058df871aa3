"""Reading idx files, the format of MNIST (http://yann.lecun.com/exdb/mnist/), plain or gzipped."""

import gzip
import os
import struct
import zlib
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from parmlp.datasets.files import chunks
from parmlp.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"

# The third byte of an idx file names the element type; elements are big-endian.
ELEMENT_TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}

# numpy's own limit is 64; real files have 1 (labels), 3 (images) or 4 (color images).
MAX_DIMENSIONS = 8


def is_idx(path: str | os.PathLike[str]) -> bool:
    """Whether the file begins like an idx file; no statement on the rest."""
    try:
        with _open(Path(path)) as stream:
            head = stream.read(4)
    except (OSError, EOFError, zlib.error):
        return False
    return (
        len(head) == 4
        and head[:2] == b"\0\0"
        and head[2] in ELEMENT_TYPES
        and 1 <= head[3] <= MAX_DIMENSIONS
    )


def read_idx(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Return the array an idx file holds, in native byte order.

    Memory is taken as data arrives, never on the header's word.

    Raises
    ------
    DataError
        The file is missing, truncated, longer than its header says, or no idx file.
    """
    path = Path(path)
    try:
        with _open(path) as stream:
            return _read(stream, path)
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is corrupt or truncated: {error}; get the file anew") from error


def _open(path: Path) -> BinaryIO | gzip.GzipFile:
    with path.open("rb") as stream:
        packed = stream.read(2) == GZIP_MAGIC
    return gzip.open(path) if packed else path.open("rb")


def _read(stream: BinaryIO | gzip.GzipFile, path: Path) -> npt.NDArray[Any]:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0":
        raise DataError(f"{path} is not an idx file: it begins with {head.hex(' ') or 'nothing'}")
    dtype, n_dimensions = ELEMENT_TYPES.get(head[2]), head[3]
    if dtype is None or not 1 <= n_dimensions <= MAX_DIMENSIONS:
        raise DataError(
            f"{path} is not an idx file parmlp reads: element type 0x{head[2]:02x}, {n_dimensions} "
            "dimensions"
        )
    sizes = stream.read(4 * n_dimensions)
    if len(sizes) < 4 * n_dimensions:
        raise DataError(f"{path} is truncated within its header; get the file anew")
    shape = struct.unpack(f">{n_dimensions}I", sizes)
    expected = prod(shape) * dtype.itemsize
    data = bytearray()
    for chunk in chunks(stream):
        data += chunk
        if len(data) > expected:
            raise DataError(f"{path} is longer than the {expected:,} bytes of its shape {shape}")
    if len(data) < expected:
        raise DataError(
            f"{path} is truncated: its shape {shape} needs {expected:,} bytes, it holds "
            f"{len(data):,}; get the file anew"
        )
    try:
        array: npt.NDArray[Any] = np.frombuffer(data, dtype=dtype).reshape(shape)
    except ValueError as error:  # an empty array whose other sizes overflow
        raise DataError(f"{path} claims the impossible shape {shape}") from error
    return array.astype(dtype.newbyteorder("="), copy=False)
