"""Row orders drawn ahead are scikit-learn's, and leave a RandomState where scikit-learn would."""

import threading
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.utils import shuffle

from parmlp import MLPClassifier
from parmlp.estimators import _row_order
from parmlp.estimators._row_order import RowOrder

ROWS = 12_000  # enough to be drawn ahead


def state_of(random_state: np.random.RandomState) -> tuple[Any, ...]:
    state = random_state.get_state(legacy=False)
    return (state["state"]["key"].tobytes(), state["state"]["pos"], state["has_gauss"])


def scikit_learn_orders(seed: int, start: NDArray[np.int64], epochs: int) -> Any:
    random_state = np.random.RandomState(seed)
    orders = []
    for _ in range(epochs):
        start = shuffle(start, random_state=random_state)
        orders.append(start)
    return orders, random_state


@pytest.mark.parametrize("rows", [5, 200, ROWS])
@pytest.mark.parametrize("ahead", [False, True])
def test_orders_are_scikit_learns(rows: int, ahead: bool) -> None:
    expected, their_state = scikit_learn_orders(1, np.arange(rows), 4)
    random_state = np.random.RandomState(1)
    order = RowOrder(rows, True, random_state)
    for epoch in range(4):
        np.testing.assert_array_equal(order.next(), expected[epoch])
        if ahead and epoch < 3:
            order.draw_ahead()
    assert state_of(random_state) == state_of(their_state)


def test_a_draw_nobody_uses_leaves_no_trace() -> None:
    _, their_state = scikit_learn_orders(1, np.arange(ROWS), 1)
    random_state = np.random.RandomState(1)
    order = RowOrder(ROWS, True, random_state)
    order.next()
    order.draw_ahead()
    for thread in threading.enumerate():
        if thread.name == "parmlp-row-order":
            thread.join()
    assert state_of(random_state) == state_of(their_state)


def test_draws_are_really_made_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    take = _row_order._Draw.take

    def counting(self: Any, random_state: np.random.RandomState) -> Any:
        order = take(self, random_state)
        used.append(order is not None)
        return order

    monkeypatch.setattr(_row_order._Draw, "take", counting)
    X = np.random.default_rng(0).normal(size=(ROWS, 2))
    with pytest.warns(match="Maximum iterations"):
        MLPClassifier((2,), max_iter=4, random_state=0).fit(X, X[:, 0] > 0)
    assert used == [True, True, True]


def test_someone_else_draws_meanwhile() -> None:
    """A callback that uses the same RandomState gets what it would without drawing ahead."""
    random_state, plain = np.random.RandomState(1), np.random.RandomState(1)
    random_state.normal(), plain.normal()  # one deviate is kept for later
    order = RowOrder(ROWS, True, random_state)
    expected = np.arange(ROWS)
    for epoch in range(3):
        expected = shuffle(expected, random_state=plain)
        np.testing.assert_array_equal(order.next(), expected)
        order.draw_ahead()
        if epoch == 0:
            assert random_state.randint(1 << 30) == plain.randint(1 << 30)
        assert random_state.normal() == plain.normal()
    assert state_of(random_state) == state_of(plain)


def test_rows_of_a_split_and_no_shuffling() -> None:
    rows = np.array([3, 1, 4], dtype=np.int64)
    random_state = np.random.RandomState(0)
    before = state_of(random_state)
    np.testing.assert_array_equal(RowOrder(rows, False, random_state).next(), rows)
    assert RowOrder(3, False, random_state).next() is None
    assert state_of(random_state) == before
    shuffled = RowOrder(rows, True, random_state).next()
    expected = shuffle(rows, random_state=np.random.RandomState(0))
    np.testing.assert_array_equal(shuffled, expected)


def test_other_bit_generators() -> None:
    ours = np.random.RandomState(np.random.PCG64(5))
    theirs = np.random.RandomState(np.random.PCG64(5))
    order = RowOrder(ROWS, True, ours)
    expected = np.arange(ROWS)
    for _ in range(2):
        expected = shuffle(expected, random_state=theirs)
        np.testing.assert_array_equal(order.next(), expected)
        order.draw_ahead()


def test_another_thread_does_not_draw_what_was_drawn_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As two fits with random_state=None side by side, both on NumPy's global RandomState."""
    random_state, plain = np.random.RandomState(1), np.random.RandomState(1)
    drawn: list[float] = []
    same_place = _row_order._same_place
    other = threading.Thread(target=lambda: drawn.append(random_state.random_sample()))

    def interfere(a: Any, b: Any) -> bool:
        same = same_place(a, b)
        other.start()
        other.join(0.2)  # it must wait until the order has been taken
        return same

    order = RowOrder(ROWS, True, random_state)
    order.next()
    order.draw_ahead()
    monkeypatch.setattr(_row_order, "_same_place", interfere)
    order.next()
    other.join()
    their_order = RowOrder(ROWS, True, plain)
    their_order.next()
    their_order.next()
    assert drawn == [plain.random_sample()]
    assert random_state.random_sample() == plain.random_sample()


def test_no_draw_outlives_a_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that ended now would find it within the native core, and abort."""
    run = _row_order._Draw._run

    def slow(self: Any) -> None:
        time.sleep(0.3)
        run(self)

    def fail(report: Any) -> None:
        raise LookupError

    monkeypatch.setattr(_row_order._Draw, "_run", slow)
    X = np.random.default_rng(0).normal(size=(ROWS, 2))
    MLPClassifier((2,), callback=lambda report: True).fit(X, X[:, 0] > 0)
    assert "parmlp-row-order" not in [thread.name for thread in threading.enumerate()]
    with pytest.raises(LookupError):
        MLPClassifier((2,), callback=fail).fit(X, X[:, 0] > 0)
    assert "parmlp-row-order" not in [thread.name for thread in threading.enumerate()]
