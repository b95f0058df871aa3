"""``python -m benchmarks.accuracy [--out FILE]``: accuracies on real MNIST and KDD Cup 1999.

MNIST: the faithful configuration (sigmoid everywhere, mse, plain sgd, Glorot uniform weights, zero
biases), 30 epochs at batch 10 and learning rate 3, pixels in [0, 1]; the published best epochs are
95.42 % (784-30-10) and 96.59 % (784-100-10). KDD'99: one hidden layer of 64 relu units, adam, 10
epochs at batch 200, trained on the 10 % set, tested on the labelled test set; scikit-learn's
MLPClassifier with the same parameters beside it. Needs PARMLP_DATA; takes about two minutes.
"""

import time
import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier as ScikitLearnMLPClassifier

from benchmarks import records
from parmlp import MLPClassifier
from parmlp.datasets import Split, load_split

EPOCHS_KDD = 10


def _fit(model: Any, split: Split) -> dict[str, Any]:
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(split.X_train, split.y_train)
    seconds = time.perf_counter() - start
    return {
        "seconds": round(seconds, 3),
        "test_accuracy": float(np.mean(model.predict(split.X_test) == split.y_test)),
    }


def mnist(hidden: int, seed: int) -> dict[str, Any]:
    model = MLPClassifier(
        (hidden,),
        "logistic",
        loss="mse",
        solver="sgd",
        momentum=0.0,
        alpha=0.0,
        learning_rate_init=3.0,
        batch_size=10,
        max_iter=30,
        tol=0.0,
        n_iter_no_change=np.inf,
        weight_init="glorot_uniform",
        random_state=seed,
    )
    record = {"data": "mnist", "network": f"784-{hidden}-10", "trainer": "parmlp", "seed": seed}
    return record | _fit(model, load_split("mnist"))


def kddcup99(target: str, trainer: str, seed: int) -> dict[str, Any]:
    kind = MLPClassifier if trainer == "parmlp" else ScikitLearnMLPClassifier
    model = kind(
        (64,),
        batch_size=200,
        max_iter=EPOCHS_KDD,
        tol=0.0,
        n_iter_no_change=np.inf,
        random_state=seed,
    )
    record = {"data": f"kddcup99 {target}", "network": "122-64", "trainer": trainer, "seed": seed}
    return record | _fit(model, load_split("kddcup99", target=target))


def main() -> None:
    out = records.out_argument("benchmarks.accuracy", __doc__)
    found = [records.platform_record()]
    runs = [lambda seed=seed, h=h: mnist(h, seed) for h in (30, 100) for seed in (0, 1, 2)]
    runs += [
        lambda target=target, trainer=trainer: kddcup99(target, trainer, 0)
        for target in ("attack", "category")
        for trainer in ("parmlp", "scikit-learn")
    ]
    for run in runs:
        record = run()
        found.append(record)
        print(
            f"{record['data']:<19} {record['network']:<11} {record['trainer']:<13} "
            f"seed {record['seed']}  {record['test_accuracy']:.2%}  {record['seconds']:7.2f} s",
            flush=True,
        )
    records.write(out, found)


if __name__ == "__main__":
    main()
