"""Tasks for the worker's tests; they run in its process, which finds them by name."""

from __future__ import annotations

import os
import time
from typing import Any


def good(until: float) -> dict[str, Any]:
    return {"task": "cell", "value": 1}


def raises(until: float) -> dict[str, Any]:
    raise RuntimeError("out of order")


def crashes(until: float) -> dict[str, Any]:
    os._exit(7)


def hangs(until: float) -> dict[str, Any]:
    time.sleep(600)
    return {}


def tasks() -> dict[str, Any]:
    return {"crashes": crashes, "raises": raises, "hangs": hangs, "good": good}


def broken() -> dict[str, Any]:
    os._exit(5)
