"""Reading the arrays X and y of an ``.npz`` file without trusting it.

``numpy.load`` sets aside as much memory as a header claims; here a claim is first held against the
bytes there are. No pickles are read.
"""

import os
import struct
import tokenize
import zipfile
import zlib
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt

from parmlp.errors import DataError

# Deflate cannot pack tighter than 1032 to 1, so a larger claim is false.
MAX_DEFLATE_RATIO = 1032

# What zipfile, zlib and NumPy's header reader raise on bytes that are not what they should be.
_CORRUPT = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    RuntimeError,  # encrypted; RecursionError and NotImplementedError are RuntimeErrors too
    # NumPy parses the header as Python source.
    SyntaxError,
    tokenize.TokenError,
    MemoryError,
)


def read_npz(path: str | os.PathLike[str]) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """Return X, shape (n, ...), and y, shape (n,) or (n, n_outputs), or None if there is no y.

    Raises
    ------
    DataError
        The file is missing, corrupt, has no X, arrays of Python objects, or as many targets as it
        has no rows.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            arrays = {
                key: _read_member(archive, members[f"{key}.npy"])
                for key in ("X", "y")
                if f"{key}.npy" in members
            }
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except _CORRUPT as error:
        raise DataError(
            f"{path} is not a readable npz file ({error}); write it anew with "
            "numpy.savez(path, X=X, y=y)"
        ) from error
    if "X" not in arrays:
        keys = ", ".join(sorted(name.removesuffix(".npy") for name in members)) or "none"
        raise DataError(
            f"{path} has no array X (it has: {keys}); write it with numpy.savez(path, X=X, y=y)"
        )
    X, y = arrays["X"], arrays.get("y")
    if X.ndim < 2 or X.size == 0:
        raise DataError(f"{path}: X has shape {X.shape}; expected (n_rows, n_features), not empty")
    if y is not None and (y.ndim not in (1, 2) or len(y) != len(X) or y.size == 0):
        raise DataError(f"{path}: y has shape {y.shape}, but X has {len(X):,} rows")
    return X, y


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> npt.NDArray[Any]:
    """Return one array of the archive, or raise DataError or one of ``_CORRUPT``."""
    with archive.open(info) as stream:
        version = npy.read_magic(stream)
        if version == (1, 0):
            shape, fortran_order, dtype = npy.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, fortran_order, dtype = npy.read_array_header_2_0(stream)
        else:
            raise DataError(f"array {info.filename} is of npy version {version}, not 1.0 or 2.0")
        if dtype.kind not in "biufU":
            raise DataError(
                f"array {info.filename} is of type {dtype}; save numbers, booleans or strings "
                "(numpy.asarray(y, dtype=str) for a list of strings)"
            )
        expected = prod(shape) * dtype.itemsize
        if min(shape, default=1) < 0 or expected > MAX_DEFLATE_RATIO * info.compress_size:
            raise ValueError(f"{info.filename} claims the impossible shape {shape}")
        data = _read_exactly(stream, expected)
    array: npt.NDArray[Any]
    array = np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran_order else "C")
    array = np.ascontiguousarray(array, dtype=dtype.newbyteorder("="))
    if dtype.kind == "b":
        array = array.view(np.uint8) != 0
    if dtype.kind == "U" and array.size:
        points = array.reshape(-1).view(np.uint32)
        if points.max() > 0x10FFFF or ((points >= 0xD800) & (points < 0xE000)).any():
            raise ValueError(f"{info.filename} holds strings that are not Unicode")
    return array


def _read_exactly(stream: IO[bytes], n_bytes: int) -> bytearray:
    """Return the rest of ``stream``, which must be ``n_bytes``; the end is where zip checks it."""
    data = bytearray()
    while chunk := stream.read(1 << 20):
        data += chunk
        if len(data) > n_bytes:
            break
    if len(data) != n_bytes:
        raise ValueError(f"an array of {n_bytes:,} bytes has {len(data):,}")
    return data
