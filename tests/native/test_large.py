"""Arrays of more than 2^31 elements. Slow, and needs 12 GB of memory: ``pytest -m slow``."""

import os

import numpy as np
import pytest

from parmlp import _core

ROWS, FEATURES = 21_600_000, 100  # 2.16e9 elements, 8.6 GB in float32


@pytest.mark.slow
def test_offsets_beyond_32_bits() -> None:
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if free < 12e9:
        pytest.skip(f"needs 12 GB of free memory, there are {free / 1e9:.1f}")
    X = np.zeros((ROWS, FEATURES), np.float32)
    rng = np.random.default_rng(0)
    X[-3:] = rng.normal(size=(3, FEATURES))
    network = _core.Network([FEATURES, 5, 2], "tanh", "softmax", "log_loss", "float32")
    network.set_parameters(
        [rng.normal(size=s).astype(np.float32) for s in ((FEATURES, 5), (5, 2))],
        [rng.normal(size=n).astype(np.float32) for n in (5, 2)],
    )
    network.set_solver(
        "sgd",
        alpha=0.0,
        momentum=0.0,
        nesterov=False,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        weight_decay=0.0,
    )
    team = _core.Team("threads", 2)
    predicted = network.predict(team, X)
    assert predicted.shape == (ROWS, 2)
    np.testing.assert_array_equal(predicted[-3:], network.predict(team, X[-3:].copy()))
    np.testing.assert_array_equal(predicted[0], predicted[ROWS // 2])

    # training on the last rows alone: the same as on a copy of them
    coefs, intercepts = network.get_parameters()
    y = np.zeros(ROWS, np.int32)
    order = np.arange(ROWS - 3, ROWS, dtype=np.int64)
    far = network.train_epoch(team, X, y, order, None, 2, 0.1, "two-phase").loss
    trained = network.get_parameters()
    network.set_parameters(coefs, intercepts)
    near = network.train_epoch(team, X[-3:].copy(), y[-3:], None, None, 2, 0.1, "two-phase").loss
    assert far == near
    for a, b in zip(trained[0], network.get_parameters()[0], strict=True):
        np.testing.assert_array_equal(a, b)
