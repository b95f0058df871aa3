"""Who else used the CPUs while something was timed, from /proc/stat."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """Busy seconds of each CPU since boot, what the hypervisor took included."""

    busy: dict[int, float]
    at: float


def read_usage() -> Usage:
    """Now. Linux counts in ticks of 10 ms, so spans below 0.2 s are coarse."""
    tick = os.sysconf("SC_CLK_TCK")
    busy = {}
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("cpu") and line[3].isdigit():
            name, *fields = line.split()
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            busy[int(name[3:])] = (user + nice + system + irq + softirq + steal) / tick
    return Usage(busy, time.monotonic())


def others(before: Usage, after: Usage, cpus: tuple[int, ...], own_seconds: float) -> float:
    """CPUs of `cpus` that somebody else kept busy between two readings, on average.

    0 is a quiet machine; 1 means one core's worth of work was not ours. The clock's tick makes it
    uncertain by about 0.02 s over the span.
    """
    span = after.at - before.at
    busy = sum(after.busy[c] - before.busy[c] for c in cpus)
    return max(0.0, (busy - own_seconds) / span) if span > 0 else 0.0


def snapshot(seconds: float = 0.3) -> dict[str, object]:
    """Load averages, and the busy fraction of each CPU over `seconds` with us asleep."""
    before = read_usage()
    time.sleep(seconds)
    after = read_usage()
    span = after.at - before.at
    return {
        "loadavg": list(os.getloadavg()),
        "busy": {str(c): round((after.busy[c] - before.busy[c]) / span, 3) for c in after.busy},
    }
