"""No instruction that a machine may lack is where every machine runs it.

A function compiled with AVX-512 flags that the linker may merge with its namesake from another
unit would put those instructions into code that runs everywhere. So the kernel units are compiled
here as CMakeLists.txt has them compiled, and two things are checked: each holds the encodings of
its own target only, and none holds a symbol that can be merged. If the installed module still has
its symbols, it is disassembled too.

By encoding, not by mnemonic: in 64-bit code an instruction that begins with 62 (after prefixes for
segment and address size) is EVEX, AVX-512's, and one that begins with c4 or c5 is VEX, AVX's.
"""

import os
import platform
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from parmlp import _core

ROOT = Path(__file__).parents[2]
UNITS = ("baseline", "avx2", "avx512", "avx512_bf16")
WITH_EVEX = ("avx512", "avx512_bf16")
#: The only symbols that other units see: a unit's tables of kernels.
TABLES = {unit: ["kFloat32", "kFloat64"] for unit in UNITS} | {"avx512_bf16": ["kBf16"]}
COMPILER = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
#: What CMake adds in a release build to the options that the file lists.
RELEASE = ["-std=c++20", "-O3", "-DNDEBUG", "-fPIC", "-fvisibility=hidden"]
RELEASE += ["-fvisibility-inlines-hidden"]

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="not an x86-64 machine"),
    pytest.mark.skipif(not shutil.which("objdump"), reason="needs objdump (binutils)"),
    pytest.mark.skipif(not shutil.which("nm"), reason="needs nm (binutils)"),
]

PREFIXES = {"64", "65", "67"}
INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\t((?:[0-9a-f]{2} )+)\s*\t")
FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")


def tool(*arguments: object) -> str:
    return subprocess.run(
        [str(a) for a in arguments], capture_output=True, text=True, check=True
    ).stdout


def encodings(binary: Path) -> dict[str, Counter[str]]:
    """Return how many EVEX, VEX and other instructions each function holds."""
    functions: dict[str, Counter[str]] = {}
    counts: Counter[str] = Counter()
    for line in tool("objdump", "-d", "-C", "--wide", binary).splitlines():
        if function := FUNCTION.match(line):
            counts = functions.setdefault(function[1], Counter())
        elif instruction := INSTRUCTION.match(line):
            first = next(b for b in instruction[1].split() if b not in PREFIXES)
            counts[{"62": "evex", "c4": "vex", "c5": "vex"}.get(first, "other")] += 1
    return functions


def cmake_options(unit: str) -> list[str]:
    """Return what CMakeLists.txt adds for a kernel unit: to all units, and to this one."""
    text = (ROOT / "CMakeLists.txt").read_text()
    common = re.search(r"^add_compile_options\((-Wall.*?)\)", text, re.MULTILINE | re.DOTALL)
    own = re.search(
        rf'target_{unit}\.cpp\s+PROPERTIES\s+COMPILE_OPTIONS\s+"([^"]*)"', text, re.DOTALL
    )
    assert common, "CMakeLists.txt no longer has add_compile_options(-Wall ...)"
    assert own, f"CMakeLists.txt no longer has options for target_{unit}.cpp"
    return [*common[1].split(), *own[1].split(";")]


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The kernel units, compiled side by side (some 5 s each)."""
    if not COMPILER:
        pytest.skip("needs a C++ compiler: set CXX or install g++")
    folder = tmp_path_factory.mktemp("kernels")
    paths = {unit: folder / f"{unit}.o" for unit in UNITS}
    compilers = [
        subprocess.Popen(
            [
                *(COMPILER, *RELEASE, *cmake_options(unit), "-I", ROOT / "native"),
                *("-c", ROOT / "native" / "kernels" / f"target_{unit}.cpp", "-o", path),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        for unit, path in paths.items()
    ]
    for compiler in compilers:
        _, errors = compiler.communicate()
        assert compiler.returncode == 0, errors
    return paths


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_holds_its_own_target_only(objects: dict[str, Path], unit: str) -> None:
    functions = encodings(objects[unit])
    total = sum(functions.values(), Counter())
    assert total["other"] > 1000
    # Each has what it is for, or this would prove nothing ...
    assert (total["evex"] > 1000) == (unit in WITH_EVEX)
    assert (total["vex"] > 1000) == (unit != "baseline")
    # ... and nothing beyond it.
    if unit not in WITH_EVEX:
        assert total["evex"] == 0
    if unit == "baseline":
        assert total["vex"] == 0
    # Lambdas and clones too bear the target's name.
    for name in functions:
        assert f"parmlp::{unit}::" in name, name


@pytest.mark.parametrize("unit", UNITS)
def test_nothing_in_a_unit_can_be_merged_with_another(objects: dict[str, Path], unit: str) -> None:
    """Its tables of kernels are its only symbols that others see; no weak, unique or common."""
    names = []
    for line in tool("nm", "-C", objects[unit]).splitlines():
        kind, name = line[17:].split(" ", 1)
        assert kind not in "VvWwuCi", f"{name} is a symbol of kind {kind}: it can be merged"
        if kind.isupper() and kind != "U":
            names.append(name)
        if kind == "U":  # only the C library's, which chooses for the machine it runs on
            assert re.fullmatch(r"_?[A-Za-z_0-9]+", name), f"needs {name} from another unit"
    assert sorted(names) == [f"parmlp::{unit}::{table}" for table in TABLES[unit]]


def test_only_one_unit_multiplies_in_bf16(objects: dict[str, Path]) -> None:
    """AVX512_BF16's encodings are EVEX like AVX-512's, but not every AVX-512 CPU has them."""
    for unit, binary in objects.items():
        code = tool("objdump", "-d", binary)
        assert ("vdpbf16ps" in code) == (unit == "avx512_bf16"), unit
        assert ("vcvtne2ps2bf16" in code) == (unit == "avx512_bf16"), unit


def test_the_installed_module() -> None:
    module = Path(_core.__file__)
    functions = {
        name: counts
        for name, counts in encodings(module).items()
        if counts["evex"] or counts["vex"]
    }
    if not tool("nm", "-C", module).count("parmlp::"):
        # Stripped, as releases are: objdump then sees one long function, and the units above stand
        # for it. At least it must hold all targets.
        total = sum(functions.values(), Counter())
        assert total["evex"] > 1000
        assert total["vex"] > 1000
        return
    for name, counts in functions.items():
        if counts["evex"]:
            assert re.search(r"parmlp::avx512(_bf16)?::", name), name
        else:
            assert re.search(r"parmlp::avx(2|512|512_bf16)::", name), name
