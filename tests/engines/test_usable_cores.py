"""The cores that a process may use: its affinity mask, cut to its control group's CPU quota.

The files that say so are laid out in a folder, so no container and no privileges are needed.
"""

import math
import os
from pathlib import Path

import pytest

from parmlp import _core
from parmlp.engines import default_n_threads, make_team

AFFINITY = len(os.sched_getaffinity(0))
WIDE = [784, 1024, 10]


def lay_out(root: Path, own_groups: str, files: dict[str, str]) -> str:
    """Write ``/proc/self/cgroup`` and files of ``/sys/fs/cgroup`` under a root; return it."""
    for path, text in {
        "proc/self/cgroup": own_groups,
        **{f"sys/fs/cgroup/{path}": text for path, text in files.items()},
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return str(root)


V2 = "0::/pod/container\n"
V1 = "5:cpuset:/pod\n4:cpu,cpuacct:/pod/container\n3:memory:/pod\n0::/\n"


def v1(folder: str, quota: str, period: str = "100000\n") -> dict[str, str]:
    return {f"{folder}/cpu.cfs_quota_us": quota, f"{folder}/cpu.cfs_period_us": period}


@pytest.mark.parametrize(
    ("own_groups", "files", "cpus"),
    [
        # version 2: the root of a hierarchy has no cpu.max
        (V2, {"pod/container/cpu.max": "150000 100000\n"}, 1.5),
        (V2, {"pod/container/cpu.max": "max 100000\n"}, 0),
        (V2, {"pod/container/cpu.max": "max 100000\n", "pod/cpu.max": "50000 100000\n"}, 0.5),
        (V2, {"pod/container/cpu.max": "70000 10000\n", "pod/cpu.max": "40000 10000\n"}, 4),
        (V2, {"pod/container/cpu.max": "40000 10000\n", "pod/cpu.max": "70000 10000\n"}, 4),
        (V2, {"elsewhere/cpu.max": "10000 100000\n"}, 0),
        # a container sees its own group as the root of what is mounted, under any name or "/"
        (V2, {"cpu.max": "300000 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "300000 100000\n"}, 3),
        # version 1: -1 is no limit, and only the hierarchy of the cpu controller counts
        (V1, v1("cpu,cpuacct/pod/container", "250000\n"), 2.5),
        (V1, v1("cpu,cpuacct/pod/container", "-1\n"), 0),
        (V1, v1("cpu,cpuacct/pod/container", "-1\n") | v1("cpu,cpuacct", "200000\n"), 2),
        (V1, v1("cpuset/pod", "200000\n"), 0),
        ("4:cpu:/\n", v1("cpu", "50000\n", "200000\n"), 0.25),
        # what cannot be read is no limit, and hides none
        (V2, {"pod/container/cpu.max": "", "pod/cpu.max": "200000 100000\n"}, 2),
        (V2, {"pod/container/cpu.max": "many 100000\n", "pod/cpu.max": "200000 100000\n"}, 2),
        (V2, {"pod/container/cpu.max": "200000 0\n"}, 0),
        (V1, v1("cpu,cpuacct/pod/container", "250000\n", "0\n"), 0),
        ("no colons\n\n", {"cpu.max": "100000 100000\n"}, 0),
        ("", {}, 0),
    ],
)
def test_the_smallest_quota_on_the_way_to_the_root(
    tmp_path: Path, own_groups: str, files: dict[str, str], cpus: float
) -> None:
    root = lay_out(tmp_path, own_groups, files)
    assert _core.cgroup_cpu_quota(root) == cpus
    # a part of a CPU needs a thread too
    expected = min(AFFINITY, math.ceil(cpus)) if cpus else AFFINITY
    assert _core.usable_cores(root) == expected


def test_no_such_files(tmp_path: Path) -> None:
    assert _core.cgroup_cpu_quota(str(tmp_path)) == 0
    assert _core.usable_cores(str(tmp_path)) == AFFINITY


def test_a_quota_beyond_any_number_of_cores(tmp_path: Path) -> None:
    root = lay_out(tmp_path, V2, {"pod/cpu.max": "9000000000000000 1000\n"})
    assert _core.cgroup_cpu_quota(root) == 9e12
    assert _core.usable_cores(root) == AFFINITY


def test_usable_cores_of_this_process() -> None:
    quota = _core.cgroup_cpu_quota()
    assert _core.usable_cores() == (min(AFFINITY, math.ceil(quota)) if quota else AFFINITY)
    assert _core.usable_cores() == _core.usable_cores("")


@pytest.mark.parametrize("quota", ["30000 100000", "100000 100000", "101000 100000", "max 100000"])
def test_the_default_number_of_threads_keeps_to_the_quota(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str
) -> None:
    root = lay_out(tmp_path, V2, {"pod/cpu.max": quota})
    within = {"30000 100000": 1, "100000 100000": 1, "101000 100000": min(2, AFFINITY)}
    expected = within.get(quota, AFFINITY)
    usable_cores = _core.usable_cores
    monkeypatch.setattr(_core, "usable_cores", lambda: usable_cores(root))
    assert default_n_threads() == expected
    assert make_team("threads", None, WIDE, 100).size == expected
    assert make_team("auto", None, WIDE, 100).size == expected
    assert make_team("threads", -1, WIDE, 100).size == expected  # "all usable cores"
    assert make_team("threads", 3, WIDE, 100, warn=False).size == 3
    with pytest.warns(UserWarning, match=f"more than the {expected} usable core"):
        make_team("threads", AFFINITY + 3, WIDE, 100)
