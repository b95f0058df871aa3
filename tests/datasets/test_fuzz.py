"""Damaged files of every kind: a clear error or a valid result, never anything else.

Each example takes a good file and cuts it or changes some bytes. What must not happen: another
exception, a crash, a hang, memory taken on a damaged header's word.
"""

import gzip
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parmlp import MLPClassifier
from parmlp.datasets import load_table_split
from parmlp.datasets.idx import read_idx
from parmlp.errors import DataError, ModelFileError
from parmlp.model_files import load_model, save_model

RNG = np.random.default_rng(0)
N = 30
TABLE = pa.table(
    {
        "size": RNG.normal(size=N),
        "count": RNG.integers(0, 9, N),
        "color": RNG.choice(["red", "green", "blue"], N),
        "open": RNG.random(N) > 0.5,
        "kind": RNG.choice(["cat", "dog"], N),
    }
)
IDX = b"\0\0\x08\3" + b"\0\0\0\4" * 3 + bytes(range(64))


def write_idx(path: Path) -> None:
    path.write_bytes(IDX)


def write_packed_idx(path: Path) -> None:
    path.write_bytes(gzip.compress(IDX))


def write_packed_csv(path: Path) -> None:
    pyarrow.csv.write_csv(TABLE, path)
    path.write_bytes(gzip.compress(path.read_bytes()))


def write_npz(path: Path) -> None:
    np.savez(path, X=RNG.normal(size=(N, 3)), y=TABLE["kind"].to_numpy().astype(str))


def write_packed_npz(path: Path) -> None:
    np.savez_compressed(path, X=RNG.normal(size=(N, 3)), y=np.arange(N) % 3)


def write_model(path: Path) -> None:
    model = MLPClassifier((3,), random_state=0)
    save_model(path, model.partial_fit(np.eye(3, dtype=np.float32), [0, 1, 2], classes=[0, 1, 2]))


def read_columns(path: Path) -> object:
    return load_table_split(path, "kind")


def read_model(path: Path) -> object:
    return load_model(path).predict(np.zeros((1, 3), dtype=np.float32))


Writer = Callable[[Path], object]
KINDS: dict[str, tuple[str, Writer, Callable[[Path], object]]] = {
    "idx": ("images", write_idx, read_idx),
    "packed idx": ("images.gz", write_packed_idx, read_idx),
    "csv": ("table.csv", lambda path: pyarrow.csv.write_csv(TABLE, path), read_columns),
    "packed csv": ("table.csv.gz", write_packed_csv, read_columns),
    "parquet": ("table.parquet", lambda path: pq.write_table(TABLE, path), read_columns),
    "plain parquet": (
        "table.parquet",
        lambda path: pq.write_table(TABLE, path, compression="none", use_dictionary=False),
        read_columns,
    ),
    "npz": ("arrays.npz", write_npz, load_table_split),
    "packed npz": ("arrays.npz", write_packed_npz, load_table_split),
    "model": ("model.safetensors", write_model, read_model),
}


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Draw a way to damage a file: where is a fraction of its length, so it suits every file."""
    where = st.floats(0, 1, exclude_max=True)
    cut = draw(st.none() | where)
    changes = draw(st.lists(st.tuples(where, st.integers(1, 255)), max_size=8))
    inserted = draw(st.none() | st.tuples(where, st.binary(max_size=20)))

    def damage(content: bytes) -> bytes:
        damaged = bytearray(content)
        for place, mask in changes:
            damaged[int(place * len(damaged))] ^= mask
        if inserted is not None:
            place = int(inserted[0] * len(damaged))
            damaged[place:place] = inserted[1]
        return bytes(damaged if cut is None else damaged[: int(cut * len(damaged))])

    return damage


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Let this process take 2 GiB more than it has: a larger claim that is believed fails."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (2 << 30), hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture(params=KINDS)
def good_file(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Any]:
    name, write, read = KINDS[request.param]
    path = tmp_path / name
    write(path)
    read(path)
    return path, read


def read_or_refuse(path: Path, read: Callable[[Path], object]) -> None:
    """Read a file that may be damaged; an error must be ours and name the file."""
    message = path.name
    try:
        read(path)
    except (DataError, ModelFileError) as error:
        message = str(error)
    assert path.name in message


@given(damages())
@settings(
    max_examples=150, deadline=5_000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_file_is_an_error_or_harmless(
    good_file: tuple[Path, Any], little_memory: None, damage: Callable[[bytes], bytes]
) -> None:
    path, read = good_file
    content = path.read_bytes()
    try:
        path.write_bytes(damage(content))
        read_or_refuse(path, read)
    finally:
        path.write_bytes(content)


@given(content=st.binary(max_size=200))
@settings(
    max_examples=100, deadline=5_000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes_at_all(good_file: tuple[Path, Any], content: bytes) -> None:
    path, read = good_file
    path.write_bytes(content)
    read_or_refuse(path, read)
