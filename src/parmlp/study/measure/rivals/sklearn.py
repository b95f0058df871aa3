"""scikit-learn's MLPClassifier, by its own training loop; log_loss cells only."""

from __future__ import annotations

from typing import Any

from parmlp.study.measure.rivals.base import Array, Result, Work, missing
from parmlp.study.measure.workload import BETA_1, BETA_2, EPSILON, Workload


class Sklearn:
    """``partial_fit`` a pass; what it would do once a fit (validation, one-hot) is left out."""

    def available(self, workload: Workload) -> str | None:
        if workload.configuration.loss != "log_loss":
            return "scikit-learn cannot train sigmoid outputs with the mean squared error"
        return missing("sklearn")

    def versions(self) -> dict[str, str]:
        import numpy
        import sklearn
        import threadpoolctl

        blas = [f"{p['internal_api']} {p['version']}" for p in threadpoolctl.threadpool_info()]
        return {
            "sklearn": sklearn.__version__,
            "numpy": numpy.__version__,
            "blas": ", ".join(sorted(set(blas))),
        }

    def setup(self, work: Work) -> None:
        import sklearn
        from sklearn.neural_network import MLPClassifier

        # Validation once a fit would be a cost once an epoch here.
        sklearn.set_config(assume_finite=True, skip_parameter_validation=True)
        self.work = work
        one_hot = work.one_hot().astype(bool)  # what LabelBinarizer hands to the loop
        rows_now: list[Array] = []
        initial = iter(list(zip(work.coefs, work.intercepts, strict=True)))

        class GivenRows(MLPClassifier):  # type: ignore[misc]
            """scikit-learn's loop on the given rows from the given initial weights."""

            def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> Any:
                self.classes_ = range(work.layers[-1])
                rows = rows_now[-1]
                # One gather for the pass instead of one a minibatch: the same copies in all, and
                # no way around it with an order from outside.
                return work.X[rows], one_hot[rows]

            def _init_coef(self, fan_in: int, fan_out: int, dtype: Any) -> Any:
                w, b = next(initial)
                return w.copy(), b.copy()

        c = work.configuration
        self.rows_now = rows_now
        self.estimator = GivenRows(
            hidden_layer_sizes=work.layers[1:-1],
            activation=c.hidden_activation,
            solver=c.solver,
            alpha=c.alpha,
            batch_size=work.batch,
            learning_rate_init=c.learning_rate,
            shuffle=False,
            beta_1=BETA_1,
            beta_2=BETA_2,
            epsilon=EPSILON,
        )
        from sklearn.preprocessing import LabelBinarizer

        self.estimator._label_binarizer = LabelBinarizer().fit(work.labels)

    def run_epoch(self, order: Array) -> None:
        self.rows_now[:] = [order]
        # `_fit` itself, for partial_fit would check the labels of all rows once a pass.
        self.estimator._fit(self.work.X, self.work.labels, incremental=True)

    def result(self) -> Result:
        e = self.estimator
        return Result(float(e.loss_), list(e.coefs_), list(e.intercepts_))
