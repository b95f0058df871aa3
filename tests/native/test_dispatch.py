"""Which SIMD target runs: the widest, or the one that PARMLP_SIMD names."""

import pytest

from native.support import TARGETS, Case, check_python, core_network, draw, run_python, simd_target
from parmlp import _core

PRINT = "from parmlp import _core; print(_core.simd_target(), *_core.simd_targets())"
NETWORK = """
from native.support import Case, core_network, draw
case = Case()
print(core_network(case, draw(case)).simd)
"""


def test_baseline_always_runs_and_the_widest_is_the_default() -> None:
    assert TARGETS[0] == "baseline"
    assert check_python(PRINT, env={"PARMLP_SIMD": ""}).split() == [TARGETS[-1], *TARGETS]


@pytest.mark.parametrize("target", ["baseline", "avx2", "avx512"])
def test_the_environment_forces_one(target: str) -> None:
    if target in TARGETS:
        assert check_python(PRINT, env={"PARMLP_SIMD": target}).split()[0] == target
        assert check_python(NETWORK, env={"PARMLP_SIMD": target}).split() == [target]
    else:
        done = run_python(NETWORK, env={"PARMLP_SIMD": target})
        assert done.returncode == 1
        assert f"'{target}'" in done.stderr


@pytest.mark.parametrize(
    ("wanted", "script"), [("nonsense", NETWORK), ("AVX2", PRINT), ("avx512f", PRINT), (" ", PRINT)]
)
def test_an_unknown_target_is_an_error_that_lists_those_there_are(wanted: str, script: str) -> None:
    done = run_python(script, env={"PARMLP_SIMD": wanted})
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("RuntimeError: ")
    assert f"'{wanted}'" in message
    assert ", ".join(TARGETS) in message


def test_a_network_keeps_its_target() -> None:
    case = Case()
    data = draw(case)
    with simd_target("baseline"):
        network = core_network(case, data)
        assert (_core.simd_target(), network.simd) == ("baseline", "baseline")
    assert network.simd == "baseline"
    assert core_network(case, data).simd == _core.simd_target()


def test_set_simd_target_refuses_the_unknown() -> None:
    before = _core.simd_target()
    with pytest.raises(RuntimeError, match=r"'sse9'.*baseline"):
        _core.set_simd_target("sse9")
    assert _core.simd_target() == before
