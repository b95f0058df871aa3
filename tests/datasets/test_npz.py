"""The npz reader: what it takes, and claims it does not believe."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import numpy.lib.format as npy
import pytest

from parmlp.datasets.npz import read_npz
from parmlp.errors import DataError

X = np.arange(12.0).reshape(4, 3)


def npy_bytes(header: dict[str, object], data: bytes) -> bytes:
    stream = io.BytesIO()
    npy.write_array_header_1_0(stream, header)  # type: ignore[arg-type]
    return stream.getvalue() + data


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "y",
    [
        np.array([0, 1, 2, 3]),
        np.array([0, 1, 2, 3], dtype=">i2"),
        np.array([0.5, 1, 2, 3], dtype=np.float32),
        np.array([True, False, True, True]),
        np.array(["a", "bb", "čč", ""]),
        np.asfortranarray(np.arange(8).reshape(4, 2)),
    ],
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back(tmp_path: Path, y: np.ndarray, save: object) -> None:
    path = tmp_path / "data.npz"
    save(path, X=X, y=y, other=np.array([1]))  # type: ignore[operator]
    read_x, read_y = read_npz(path)
    np.testing.assert_array_equal(read_x, X)
    np.testing.assert_array_equal(read_y, y)
    assert read_y is not None
    assert read_y.dtype.isnative
    assert read_y.dtype.kind == y.dtype.kind


def test_y_may_be_absent(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", X=X)
    assert read_npz(tmp_path / "data.npz")[1] is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"data": X}, r"no array X \(it has: data\)"),
        ({"X": X, "y": np.arange(3)}, "X has 4 rows"),
        ({"X": X, "y": np.float64(3)}, "X has 4 rows"),
        ({"X": np.arange(4)}, r"X has shape \(4,\)"),
        ({"X": X[:0]}, "not empty"),
        ({"X": X, "y": np.array([1, "a", None, 2], dtype=object)}, "type object"),
        ({"X": X, "y": np.array([b"a"] * 4)}, r"type \|S1"),
        ({"X": X + 1j}, "type complex128"),
        ({"X": X, "y": np.zeros(4, dtype=[("a", "i4")])}, "save numbers, booleans or strings"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message) as caught:
        read_npz(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "shape", [(1 << 40, 1 << 20), (-4, -3), (1 << 62, 1 << 62), (0, 1 << 62), (5, 3)]
)
def test_a_shape_the_bytes_do_not_fill_is_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    path = write_zip(tmp_path / "data.npz", {"X.npy": npy_bytes(header, X.tobytes())})
    with pytest.raises(DataError, match=r"data\.npz"):
        read_npz(path)


def test_a_header_that_nests_too_deep_is_refused(tmp_path: Path) -> None:
    header = b"(" * 9000
    content = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header
    path = write_zip(tmp_path / "data.npz", {"X.npy": content})
    with pytest.raises(DataError, match="not a readable npz"):
        read_npz(path)


@pytest.mark.parametrize("point", [0x110000, 0xFFFFFFFF, 0xD800])
def test_strings_that_are_not_unicode_are_refused(tmp_path: Path, point: int) -> None:
    header = {"descr": "<U1", "fortran_order": False, "shape": (4,)}
    labels = npy_bytes(header, struct.pack("<4I", 65, 66, point, 67))
    np.savez(tmp_path / "x.npz", X=X)
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        members = {"X.npy": archive.read("X.npy"), "y.npy": labels}
    with pytest.raises(DataError, match="not Unicode"):
        read_npz(write_zip(tmp_path / "data.npz", members))


def test_a_file_of_zeros_is_no_reason_to_take_memory(tmp_path: Path) -> None:
    """An array packed 1000 to 1 is legal, and read."""
    np.savez_compressed(tmp_path / "data.npz", X=np.zeros((1000, 1000)))
    assert read_npz(tmp_path / "data.npz")[0].shape == (1000, 1000)


def test_not_an_npz_file(tmp_path: Path) -> None:
    (tmp_path / "data.npz").write_bytes(b"hello")
    with pytest.raises(DataError, match=r"numpy\.savez"):
        read_npz(tmp_path / "data.npz")
    with pytest.raises(DataError, match="no such file"):
        read_npz(tmp_path / "nothing.npz")
    with pytest.raises(DataError, match="not a readable npz"):
        read_npz(tmp_path)
