"""Hyperparameter selection by successive halving: many settings on few rows, the best on all.

    python examples/halving_grid_search.py

The authors' grid of learning rates, by scikit-learn's HalvingGridSearchCV, on the embedded digits.
"""

import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV, train_test_split

from parmlp import MLPClassifier


def main(epochs: int = 20) -> HalvingGridSearchCV:
    """Search, print the choice and its accuracy on held-out rows, and return the search."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X.astype(np.float32) / 16, y, test_size=0.2, random_state=0, stratify=y
    )
    # The paper's configuration: sigmoid everywhere, mse, plain sgd.
    model = MLPClassifier(
        (64,),
        "sigmoid",
        loss="mse",
        solver="sgd",
        momentum=0.0,
        alpha=0.0,
        batch_size=16,
        max_iter=epochs,
        tol=0.0,
        n_iter_no_change=np.inf,
        weight_init="glorot_uniform",
        random_state=0,
    )
    search = HalvingGridSearchCV(
        model,
        {"learning_rate_init": [0.001, 0.002, 0.01, 0.1, 0.5, 1.0]},
        factor=2,
        cv=3,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # none converges in so few epochs
        search.fit(X_train, y_train)
    print(f"chosen: {search.best_params_}")
    print(f"accuracy on held-out rows: {search.score(X_test, y_test):.2%}")
    return search


if __name__ == "__main__":
    main()
