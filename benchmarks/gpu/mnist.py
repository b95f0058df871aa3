"""Real MNIST to 98 % on the test set: recipes that were fixed beforehand, and how long they take.

::

    python -m benchmarks.gpu.mnist --engine threads --out FILE     # on a CPU

A recipe is a network and a fixed number of epochs with their learning rates. ``choose_mnist.py``
chose them on rows of the training set that it held out. What is timed is all of the training: from
rows that lie where the engine wants them (on the GPU, or compressed in the CPU's memory) to the end
of the last epoch. Initial weights and each epoch's order are drawn within the time; nothing looks
at held-out rows in between. The test set is read once a seed, afterwards.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.records import Appender, Record
from benchmarks.records import platform_record
from parmlp import engines
from parmlp.datasets import load_mnist
from parmlp.estimators._samples import TrainingRows
from parmlp.estimators._weights import draw_weights
from parmlp.study.measure.workload import BETA_1, BETA_2, EPSILON
from parmlp.study.records import flops_per_sample

Array = NDArray[Any]

GOAL_ACCURACY = 0.98
GOAL_SECONDS = 0.15

#: The last rows of the training set, on which recipes are chosen; a recipe is timed on all rows.
VALIDATION_ROWS = 10_000
TRAINING_ROWS = 60_000

SEEDS = tuple(range(10))


@dataclass(frozen=True)
class Recipe:
    """relu, softmax and log loss; adam whose rate falls linearly, epoch by epoch.

    Epoch e = 0, 1, ... of E takes the rate ``learning_rate * (1 - e / E)``.
    """

    hidden: tuple[int, ...]
    batch: int
    learning_rate: float
    epochs: int

    @property
    def name(self) -> str:
        """Network, batch, first rate and epochs."""
        net = "-".join(map(str, self.layers))
        return f"{net}/b{self.batch}/lr{self.learning_rate:g}/{self.epochs} epochs"

    @property
    def layers(self) -> tuple[int, ...]:
        """Units of each layer."""
        return (784, *self.hidden, 10)

    @property
    def steps(self) -> int:
        """Minibatches of all epochs over the whole training set."""
        return self.epochs * -(-TRAINING_ROWS // self.batch)

    @property
    def flops(self) -> int:
        """Operations of all epochs over the whole training set."""
        return self.epochs * TRAINING_ROWS * flops_per_sample(self.layers)

    def rates(self) -> list[float]:
        """The learning rate of each epoch."""
        return [self.learning_rate * (1 - e / self.epochs) for e in range(self.epochs)]

    def to_dict(self) -> Record:
        """As JSON can say it."""
        return asdict(self)

    @staticmethod
    def from_dict(document: Record) -> Recipe:
        """The inverse of ``to_dict``."""
        return Recipe(**{**document, "hidden": tuple(document["hidden"])})


#: Chosen by choose_mnist.py: results/2026-11-25-zen4-2cores/mnist-recipes.jsonl.
FEWEST_STEPS = Recipe((1024,), 512, 8e-3, 8)
LEAST_ARITHMETIC = Recipe((512,), 256, 4e-3, 8)


@dataclass(frozen=True)
class Images:
    """X (n, 784) float32 in [0, 1], and labels (n,) int32."""

    X: Array
    labels: Array

    def part(self, rows: slice) -> Images:
        """Some of them."""
        return Images(np.ascontiguousarray(self.X[rows]), self.labels[rows])


def load_images(subset: Any) -> Images:
    """The 60,000 images of "train" or the 10,000 of "test".

    Raises
    ------
    DataError
        Where they are not on this machine; it says where they belong.
    """
    found = load_mnist(subset)
    return Images(found.X, found.y.astype(np.int32))


class Trainer:
    """Trains by a recipe on one engine, again and again; each time from other initial weights.

    Parameters
    ----------
    recipe : Recipe
    images : Images
        They are laid out for the engine here.
    engine : str
        As ``engine=`` of the estimators.
    precision : {"full", "tf32", "bf16"}, default="full"
    n_threads : int, optional
        Of a CPU engine.
    """

    def __init__(
        self,
        recipe: Recipe,
        images: Images,
        engine: str,
        precision: str = "full",
        n_threads: int | None = None,
    ) -> None:
        self.recipe, self.images = recipe, images
        self.team = engines.make_team(engine, n_threads, recipe.layers, recipe.batch)
        self.network = engines.make_network(
            self.team,
            layer_units=recipe.layers,
            hidden_activation="relu",
            out_activation="softmax",
            loss="log_loss",
            dtype="float32",
            leaky_relu_slope=0.01,
            precision=precision,
        )
        rows = TrainingRows(images.X)
        if precision == "bf16":
            self.rows = rows.plain(self.team)
        else:
            self.rows = rows.to_train_on(self.team, recipe.hidden[0], recipe.batch, recipe.epochs)

    def train(self, seed: int, rates: Sequence[float] | None = None) -> float:
        """Train from the weights that ``seed`` draws; return the seconds it took.

        ``rates`` of the epochs are the recipe's unless others are given.
        """
        start = time.perf_counter()
        weights = draw_weights(
            self.recipe.layers,
            "scikit-learn",
            "relu",
            np.dtype(np.float32),
            np.random.RandomState(seed),
        )
        self.network.set_parameters(weights.coefs, weights.intercepts)
        self.network.set_solver(
            "adam",
            alpha=0.0,
            momentum=0.0,
            nesterov=False,
            beta_1=BETA_1,
            beta_2=BETA_2,
            epsilon=EPSILON,
            weight_decay=0.0,
        )
        rng = np.random.default_rng(seed)
        for rate in self.recipe.rates() if rates is None else rates:
            order = rng.permutation(len(self.images.labels))
            self.network.train_epoch(
                self.team,
                self.rows,
                self.images.labels,
                order,
                None,
                self.recipe.batch,
                rate,
                "two-phase",
            )
        return time.perf_counter() - start

    def accuracy(self, images: Images) -> float:
        """Share of images whose largest output is their label's."""
        outputs = self.network.predict(self.team, TrainingRows(images.X).plain(self.team))
        return float(np.mean(outputs.argmax(axis=1) == images.labels))


def measure(
    recipe: Recipe,
    engine: str,
    train: Images,
    test: Images,
    *,
    precision: str = "full",
    seeds: Sequence[int] = SEEDS,
    n_threads: int | None = None,
) -> Record:
    """Return the record of a recipe: seconds and test accuracy of each seed.

    ``first_seconds`` is what a first epoch took by itself, which compiles what is compiled and
    brings the rows to where they stay; the seeds' times have none of it.
    """
    trainer = Trainer(recipe, train, engine, precision, n_threads)
    first = trainer.train(seeds[0], rates=recipe.rates()[:1])
    seconds, accuracies = [], []
    for seed in seeds:
        seconds.append(trainer.train(seed))
        accuracies.append(trainer.accuracy(test))
    return {
        "task": "mnist",
        "recipe": recipe.to_dict(),
        "name": recipe.name,
        "steps": recipe.epochs * -(-len(train.labels) // recipe.batch),
        "engine": trainer.team.engine,
        "workers": trainer.team.size,
        "simd": trainer.network.simd,
        "precision": precision,
        "seeds": list(seeds),
        "seconds": seconds,
        "test_accuracy": accuracies,
        "first_seconds": first,
        "goal_seconds": GOAL_SECONDS,
        "goal_accuracy": GOAL_ACCURACY,
    }


def words(record: Record) -> str:
    """Return a record in words."""
    reached = sum(a >= record["goal_accuracy"] for a in record["test_accuracy"])
    return (
        f"MNIST, {record['name']}, {record['engine']} ({record['simd']}, {record['workers']} "
        f"workers), {record['precision']}: median {median(record['seconds']):.4f} s "
        f"[{min(record['seconds']):.4f}, {max(record['seconds']):.4f}], test accuracy median "
        f"{median(record['test_accuracy']):.2%} [{min(record['test_accuracy']):.2%}, "
        f"{max(record['test_accuracy']):.2%}], {reached} of {len(record['seeds'])} seeds at "
        f"{record['goal_accuracy']:.0%} or more; first epoch, compiling: "
        f"{record['first_seconds']:.2f} s"
    )


def main() -> None:
    """Time the recipes on one engine."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu.mnist",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--engine", default="cuda", choices=engines.ENGINES)
    parser.add_argument("--threads", type=int, help="of a CPU engine")
    parser.add_argument("--precision", default="full", choices=("full", "tf32", "bf16"))
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--out", type=Path, required=True, help="JSON lines are added to this file")
    arguments = parser.parse_args()
    out = Appender(arguments.out)
    out.write(platform_record())
    train, test = load_images("train"), load_images("test")
    for recipe in (FEWEST_STEPS, LEAST_ARITHMETIC):
        record = measure(
            recipe,
            arguments.engine,
            train,
            test,
            precision=arguments.precision,
            seeds=range(arguments.seeds),
            n_threads=arguments.threads,
        )
        out.write(record)
        print(words(record), flush=True)


if __name__ == "__main__":
    main()
