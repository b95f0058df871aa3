"""The authors' implementations (native/bindings/baselines_module.cpp)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

class Epoch:
    """One epoch over given rows; each method trains it and returns its loss.

    Shapes must fit and rows lie in X: :mod:`parmlp.study.baselines` checks them. The arrays of
    ``coefs`` and ``intercepts`` are updated in place.
    """

    def __init__(
        self,
        coefs: Sequence[NDArray[np.float32]],
        intercepts: Sequence[NDArray[np.float32]],
        X: NDArray[np.float32],
        y: NDArray[np.float32],
        order: NDArray[np.int64],
        batch_size: int,
        learning_rate: float,
        sigmoid_hidden: bool,
        sigmoid_out: bool,
    ) -> None: ...
    def naive_serial(self) -> float: ...
    def naive_pthreads(self, n_threads: int) -> float: ...
    def blas(self, sgemv: object, sger: object) -> float: ...
