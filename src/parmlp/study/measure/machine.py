"""The platform a figure was got on, as a JSON-safe record. It names no host and no user."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


def record(checkout: Path | None) -> dict[str, Any]:
    """CPU, caches, cores, affinity, quota, compiler, versions, and the commit of `checkout`."""
    return {
        "cpu": _cpu_model(),
        "simd": _flags(),
        "caches": _caches(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "cores": os.cpu_count(),
        "affinity": sorted(os.sched_getaffinity(0)),
        "quota_cores": _quota(),
        "hugepages": _read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "loadavg": list(os.getloadavg()),
        "kernel": platform.release(),
        "system": platform.system(),
        "virtual": "hypervisor" in _cpuinfo("flags").split(),
        "compiler": _first_line([os.environ.get("CC") or "cc", "--version"]),
        "python": sys.version.split()[0],
        "versions": {n: _version(n) for n in ("parmlp", "numpy", "scikit-learn")},
        "commit": commit(checkout),
        "uncommitted": checkout and bool(_output([*_git(checkout), "status", "--porcelain"])),
    }


def has_nvidia_driver() -> bool:
    """Whether there is a driver that libraries reach a GPU through."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def commit(checkout: Path | None) -> str | None:
    """The commit that `checkout` is at, if it is one."""
    return _first_line([*_git(checkout), "rev-parse", "HEAD"]) if checkout else None


def _git(checkout: Path) -> list[str]:
    return ["git", "-C", str(checkout)]


def checkout_installed_from() -> Path | None:
    """The directory on this machine that parmlp was installed from, as pip recorded it."""
    try:
        text = metadata.distribution("parmlp").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    url = urlsplit(json.loads(text)["url"]) if text else None
    if url is None or url.scheme != "file":
        return None
    folder = Path(unquote(url.path))
    return folder if folder.is_dir() else None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _cpuinfo(key: str) -> str:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _cpu_model() -> str:
    model = _cpuinfo("model name") or platform.processor() or platform.machine()
    numbers = [f"{k} {_cpuinfo(k)}" for k in ("cpu family", "model", "stepping") if _cpuinfo(k)]
    return f"{model} ({', '.join(numbers)})" if numbers else model


def _flags() -> list[str]:
    wanted = ("avx2", "fma", "avx512f", "avx512vl", "avx512_bf16", "amx_bf16", "asimd", "sve")
    have = set((_cpuinfo("flags") or _cpuinfo("Features")).split())
    return [f for f in wanted if f in have]


def _caches() -> list[dict[str, Any]]:
    found = []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        item = {k: _read(str(index / k)) for k in ("level", "type", "size", "shared_cpu_list")}
        found.append(item)
    return found


def _quota() -> float | None:
    """Cores the cgroup allows (v2, then v1); None without a limit."""
    text = _read("/sys/fs/cgroup/cpu.max")
    if text:
        quota, period = text.split()
        return None if quota == "max" else int(quota) / int(period)
    quota_us = _read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
    period_us = _read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
    if quota_us and period_us and int(quota_us) > 0:
        return int(quota_us) / int(period_us)
    return None


def _output(command: list[str]) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _first_line(command: list[str]) -> str | None:
    text = _output(command)
    return text.splitlines()[0] if text else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
