"""The idx reader: every element type, and files that are not what they claim."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from parmlp.datasets.idx import ELEMENT_TYPES, is_idx, read_idx
from parmlp.errors import DataError


def idx_bytes(array: np.ndarray, code: int) -> bytes:
    head = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return head + array.astype(ELEMENT_TYPES[code]).tobytes()


@pytest.mark.parametrize("code", ELEMENT_TYPES)
@pytest.mark.parametrize("packed", [False, True])
def test_every_element_type_is_read_in_native_order(
    tmp_path: Path, code: int, packed: bool
) -> None:
    array = np.arange(24).reshape(2, 3, 4) * (-3 if ELEMENT_TYPES[code].kind != "u" else 3)
    content = idx_bytes(array, code)
    path = tmp_path / "array"
    path.write_bytes(gzip.compress(content) if packed else content)
    read = read_idx(path)
    assert is_idx(path)
    assert read.dtype.isnative
    assert read.flags.writeable
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an idx file"),
        (b"PK\3\4", "not an idx file"),
        (b"\0\0\x07\1\0\0\0\0", "element type 0x07"),
        (b"\0\0\x08\0", "0 dimensions"),
        (b"\0\0\x08\xff", "255 dimensions"),
        (b"\0\0\x08\3\0\0\0\1", "truncated within its header"),
        (b"\0\0\x08\1\0\0\0\5abc", "needs 5 bytes, it holds 3"),
        (b"\0\0\x08\1\0\0\0\2abc", "longer than the 2 bytes"),
        # 2**96 bytes claimed: no memory is taken for them
        (b"\0\0\x08\3" + b"\xff" * 12 + b"abc", "it holds 3"),
        (b"\0\0\x08\3" + b"\0" * 4 + b"\xff" * 8, "impossible shape"),
        (b"\x1f\x8b\x08\0garbage", "corrupt or truncated"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "array"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_a_cut_gzip_file_is_an_error(tmp_path: Path) -> None:
    packed = gzip.compress(idx_bytes(np.arange(100), 0x08))
    path = tmp_path / "array.gz"
    path.write_bytes(packed[:-5])
    with pytest.raises(DataError, match="get the file anew"):
        read_idx(path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_idx(tmp_path / "nothing")
    assert not is_idx(tmp_path / "nothing")
