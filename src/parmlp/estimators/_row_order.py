"""The order in which an epoch visits the rows: scikit-learn's shuffles, drawn while others work.

scikit-learn shuffles the previous epoch's order again before each epoch, from the RandomState that
drew the initial weights and the validation split. For many rows such a draw takes as long as some
training (18 ms for 494,000), so the next epoch's order is drawn in a thread during this epoch. The
native core draws it, because NumPy's shuffle would hold the interpreter's lock meanwhile (0.2 s for
5 million rows) and with it the training. The draw works on a copy of the RandomState's state, and
the RandomState itself moves on only when the order is used: it is at every moment, and after
training, where scikit-learn would have left it.
"""

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parmlp import _core

# Below this a draw takes under 0.2 ms, and starting a thread, 0.1 ms, gains too little.
_ROWS_WORTH_A_THREAD = 10_000

State = dict[str, Any]


class RowOrder:
    """The rows of each epoch, in the order to visit them.

    Parameters
    ----------
    rows : ndarray of int64 of shape (n_rows,) or int
        The rows to train on, or how many if they are the first ones.
    shuffle : bool
    random_state : RandomState
    """

    def __init__(
        self, rows: NDArray[np.int64] | int, shuffle: bool, random_state: np.random.RandomState
    ) -> None:
        self._order: NDArray[np.int64] | None
        if isinstance(rows, int):
            self._order = np.arange(rows, dtype=np.int64) if shuffle else None
            self.n_rows = rows
        else:
            self._order = rows
            self.n_rows = len(rows)
        self._shuffle = shuffle
        self._random_state = random_state
        self._draw: _Draw | None = None

    def next(self) -> NDArray[np.int64] | None:
        """Return the next epoch's order, or None for all rows as they stand."""
        if not self._shuffle or self._order is None:
            return self._order
        draw, self._draw = self._draw, None
        if draw is not None:
            order = draw.take(self._random_state)
            if order is not None:
                self._order = order
                return order
        # A copy, because the caller may still hold the last epoch's.
        self._order = self._order.copy()
        self._random_state.shuffle(self._order)
        return self._order

    def draw_ahead(self) -> None:
        """Start to draw the order that the following call of ``next`` will return."""
        if self._shuffle and self._order is not None and self.n_rows >= _ROWS_WORTH_A_THREAD:
            state = self._random_state.get_state(legacy=False)
            # from another generator, a user's own, the order is drawn when it is needed
            if state["bit_generator"] == "MT19937":
                self._draw = _Draw(state, self._order)

    def close(self) -> None:
        """Wait until nothing is being drawn, since there will be no further call of ``next``."""
        if self._draw is not None:
            self._draw.join()
            self._draw = None


class _Draw:
    """A shuffle of ``order`` from a copy of a RandomState's ``state``, under way in a thread."""

    def __init__(self, state: State, order: NDArray[np.int64]) -> None:
        self._before = state
        self._after: State | None = None  # until the draw is done
        self._order = order.copy()
        # daemon: a program that ends during a fit need not wait for an order nobody will use.
        # Python ends it where it takes the interpreter's lock again, within the native core, which
        # aborts the program; hence RowOrder.close for all ends that can be foreseen.
        self._thread = threading.Thread(target=self._run, name="parmlp-row-order", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        key = self._before["state"]["key"].copy()
        pos = _core.shuffle_order(key, self._before["state"]["pos"], self._order)
        self._after = {"key": key, "pos": pos}

    def join(self) -> None:
        """Wait until the draw is done."""
        self._thread.join()

    def take(self, random_state: np.random.RandomState) -> NDArray[np.int64] | None:
        """Move ``random_state`` on and return the order; None if someone else drew from it."""
        self._thread.join()
        # Another thread may draw from the same RandomState, as from NumPy's global one where two
        # estimators with random_state=None are in training: nothing it draws may be drawn again.
        with random_state._bit_generator.lock:
            now = random_state.get_state(legacy=False)
            if self._after is None or not _same_place(now, self._before):
                return None
            # only the stream moves on: a normal deviate that NumPy keeps for later stays
            random_state.set_state({**now, "state": self._after})
        return self._order


def _same_place(a: State, b: State) -> bool:
    return bool(
        a["state"]["pos"] == b["state"]["pos"]
        and np.array_equal(a["state"]["key"], b["state"]["key"])
    )
