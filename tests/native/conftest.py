"""What the tests of the native core share."""

from collections.abc import Iterator

import pytest

from native.support import TARGETS, simd_target


@pytest.fixture(params=TARGETS)
def simd(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run with each instruction set that this machine has."""
    with simd_target(request.param):
        yield request.param
