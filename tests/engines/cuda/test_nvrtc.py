"""NVRTC compiles every kernel to machine code, for networks of several shapes; no GPU is needed."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated_gpu import Simulator

from parmlp.engines.cuda import compiler as compiler_module
from parmlp.engines.cuda.arrays import DeviceArray
from parmlp.engines.cuda.compiler import CachedCompiler, Nvrtc, kernel_sources
from parmlp.engines.cuda.device import Device
from parmlp.engines.cuda.programs import LADDER, Model, Persistent, Program
from parmlp.engines.errors import EngineUnavailableError

WIDE = (784, 1024, 10)
SMALL = (41, 64, 23)
PAPER = (784, 100, 10)


@pytest.fixture(scope="session")
def nvrtc() -> Nvrtc:
    try:
        return Nvrtc()
    except EngineUnavailableError as error:
        pytest.skip(f"pip install the extra test-cuda: {error}")


class _AskedToCompile(Exception):
    """Tells what a program asked for, instead of compiling it."""


class _Recorder:
    def compile(self, source: str, kernels: Any, capability: tuple[int, int]) -> bytes:
        raise _AskedToCompile(source, list(kernels))


def text_of(
    simulator: Simulator,
    program: type[Program],
    model: Model,
    solver: str,
    capability: tuple[int, int],
) -> tuple[str, list[str]]:
    """Return what a program asks the compiler for on a device of this capability."""
    device = Device(simulator.driver, _Recorder())
    device.capability = capability
    with pytest.raises(_AskedToCompile) as asked:
        program(device, model, solver, 64)
    source, kernels = asked.value.args
    return source, kernels


def global_symbols(elf: bytes) -> set[str]:
    """Return the names of a 64-bit ELF file's symbols that are visible outside of it."""
    sections_at, section_size, n_sections = (
        struct.unpack_from("<Q", elf, 0x28)[0],
        *struct.unpack_from("<HH", elf, 0x3A),
    )
    sections = [
        struct.unpack_from("<IIQQQQIIQQ", elf, sections_at + i * section_size)
        for i in range(n_sections)
    ]
    names = set()
    for _, kind, _, _, offset, size, link, _, _, entry_size in sections:
        if kind != 2:  # SHT_SYMTAB
            continue
        strings_at = sections[link][4]
        for at in range(offset, offset + size, entry_size):
            name, info = struct.unpack_from("<IB", elf, at)
            if info >> 4 == 1:  # STB_GLOBAL
                end = elf.index(b"\0", strings_at + name)
                names.add(elf[strings_at + name : end].decode())
    return names


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("rung", LADDER)
@pytest.mark.parametrize(
    ("units", "hidden", "out", "loss", "solver", "dtype"),
    [
        (SMALL, "relu", "softmax", "log_loss", "Adam<false>", "float32"),
        (PAPER, "gelu", "sigmoid", "mse", "SgdMomentum<true>", "float32"),
        (WIDE, "silu", "exp", "poisson", "Sgd", "float32"),
        (SMALL, "elu", "identity", "squared_error", "Adam<true>", "float64"),
    ],
)
def test_every_rung_compiles(  # noqa: PLR0917 (a fixture or a parameter each)
    simulator: Simulator,
    nvrtc: Nvrtc,
    rung: str,
    architecture: str,
    units: tuple[int, ...],
    hidden: str,
    out: str,
    loss: str,
    solver: str,
    dtype: str,
) -> None:
    model = Model(units, hidden, out, loss, dtype, 0.01, "full")
    capability = (9, 0) if architecture == "sm_90a" else (8, 0)
    program = LADDER[rung]
    if rung == "tensor-cores" and dtype == "float64":
        with pytest.raises(ValueError, match="computes in float32"):
            text_of(simulator, program, model, solver, capability)
        return
    one_block = capability < (9, 0)
    too_large = units == WIDE or (one_block and (units == PAPER or dtype == "float64"))
    if rung == "persistent" and too_large:
        with pytest.raises(ValueError, match="do not fit"):
            text_of(simulator, program, model, solver, capability)
        return
    source, kernels = text_of(simulator, program, model, solver, capability)
    cubin = nvrtc.cubin(source, architecture)
    assert cubin.startswith(b"\x7fELF")
    assert set(kernels) <= global_symbols(cubin)  # what the host asks for by name


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("rung", ["persistent", "tensor-cores"])
def test_rounded_operands_compile(
    simulator: Simulator, nvrtc: Nvrtc, rung: str, precision: str, architecture: str
) -> None:
    model = Model(SMALL, "relu", "softmax", "log_loss", "float32", 0.01, precision)
    source, _ = text_of(simulator, LADDER[rung], model, "Adam<false>", (9, 0))
    assert nvrtc.cubin(source, architecture).startswith(b"\x7fELF")


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_look_for_nonfinite_numbers_compiles(
    simulator: Simulator, nvrtc: Nvrtc, dtype: str, architecture: str
) -> None:
    device = Device(simulator.driver, _Recorder())
    array = DeviceArray(device, 1 << 20, (3, 2), np.dtype(dtype), None)
    with pytest.raises(_AskedToCompile) as asked:
        array.find_nonfinite()
    source, kernels = asked.value.args
    assert set(kernels) <= global_symbols(nvrtc.cubin(source, architecture))


def test_clusters_compile(
    simulator: Simulator, nvrtc: Nvrtc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Persistent, "blocks", 16)
    model = Model(PAPER, "relu", "softmax", "log_loss", "float32", 0.01, "full")
    source, _ = text_of(simulator, Persistent, model, "Adam<false>", (9, 0))
    assert nvrtc.cubin(source, "sm_90a").startswith(b"\x7fELF")


# ------------------------------------------------------------------------------------- the cache


class CountingNvrtc:
    """Stands in for NVRTC and counts what it compiles."""

    version = (13, 0)
    path = "libnvrtc.so"

    def __init__(self) -> None:
        self.compiled: list[tuple[str, str]] = []

    def architectures(self) -> list[int]:
        return [80, 90]

    def cubin(self, source: str, architecture: str) -> bytes:
        self.compiled.append((source, architecture))
        return f"{source} for {architecture}".encode()


def compile_cached(nvrtc: Any, folder: Path, source: str = "text") -> bytes:
    return CachedCompiler(nvrtc, folder).compile(source, [], (9, 0))


def test_a_program_is_compiled_once(tmp_path: Path) -> None:
    nvrtc = CountingNvrtc()
    folder = tmp_path / "new" / "folder"
    assert compile_cached(nvrtc, folder) == compile_cached(nvrtc, folder) == b"text for sm_90a"
    assert len(nvrtc.compiled) == 1
    assert [entry.suffix for entry in folder.iterdir()] == [".cubin"]  # nothing temporary stays


def test_all_that_a_program_depends_on_is_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvrtc = CountingNvrtc()
    compile_cached(nvrtc, tmp_path)
    compile_cached(nvrtc, tmp_path, "another text")
    CachedCompiler(nvrtc, tmp_path).compile("text", [], (8, 0))  # type: ignore[arg-type]
    nvrtc.version = (13, 1)
    compile_cached(nvrtc, tmp_path)
    edited = {**kernel_sources(), "real.cuh": "edited"}
    monkeypatch.setattr(compiler_module, "kernel_sources", lambda: edited)
    compile_cached(nvrtc, tmp_path)
    assert len(nvrtc.compiled) == 5


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 64])
def test_a_damaged_entry_is_compiled_again(tmp_path: Path, damage: bytes) -> None:
    nvrtc = CountingNvrtc()
    whole = compile_cached(nvrtc, tmp_path)
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(damage)
    assert compile_cached(nvrtc, tmp_path) == whole
    assert len(nvrtc.compiled) == 2
    assert compile_cached(nvrtc, tmp_path) == whole
    assert len(nvrtc.compiled) == 2


def test_without_a_place_for_the_cache_programs_still_run(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    assert compile_cached(CountingNvrtc(), file / "kernels") == b"text for sm_90a"


def test_a_gpu_that_the_compiler_does_not_know(tmp_path: Path) -> None:
    nvrtc: Any = CountingNvrtc()
    with pytest.raises(EngineUnavailableError, match=r"capability 12\.0.*pip install parmlp"):
        CachedCompiler(nvrtc, tmp_path).compile("text", [], (12, 0))


def test_a_compiler_s_messages_are_shown(nvrtc: Nvrtc) -> None:
    with pytest.raises(RuntimeError, match=r"could not compile[\s\S]*undefined_name"):
        nvrtc.cubin("__global__ void kernel() { undefined_name(); }", "sm_80")
