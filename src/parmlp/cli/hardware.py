"""What Linux says of the processor: model and caches."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


@dataclass(frozen=True)
class Cache:
    """One cache of the first core: `kind` is Data, Instruction or Unified, `size` as in "32K"."""

    level: int
    kind: str
    size: str
    shared_by: str


def cpu_model() -> str:
    """Return the processor's name, or its architecture where the kernel does not tell a name."""
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def caches() -> list[Cache]:
    """Return the first core's caches, the nearest first; empty where the kernel does not tell.

    `shared_by` lists the cores that share the cache, as in "0-1".
    """
    found = []
    for index in sorted(_CACHES.glob("index*")):
        try:
            level, kind, size, shared_by = (
                (index / name).read_text(encoding="ascii").strip()
                for name in ("level", "type", "size", "shared_cpu_list")
            )
        except OSError:
            # Virtual machines may leave some of these out; a cache half told is not shown.
            continue
        found.append(Cache(int(level), kind, size, shared_by))
    return sorted(found, key=lambda cache: (cache.level, cache.kind))


def logical_cores() -> int:
    """Return how many cores the machine shows, whether this process may use them or not."""
    return os.cpu_count() or 1
