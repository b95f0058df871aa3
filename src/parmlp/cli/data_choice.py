"""From the words of the command line to rows: which data set, which target, which rows held out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parmlp.cli.choices import Task
    from parmlp.datasets import Split
    from parmlp.model_files import LoadedModel

TEST_FRACTION = 0.2
KDD_TARGET = "attack"


def load_training_split(
    dataset: str, *, target: str | None, task: "Task | None", test_fraction: float | None, seed: int
) -> "Split":
    """Load what `parmlp train DATASET` trains on and tests with.

    Raises
    ------
    typer.BadParameter
        If `dataset` is neither a data set's name nor an existing file, or if an option does not
        go with it.
    parmlp.errors.DataError
        If the data cannot be had or read.
    """
    from parmlp.datasets import load_split, load_table_split
    from parmlp.errors import DataError

    if is_name(dataset):
        if task is not None:
            raise typer.BadParameter(
                f"only files need a task, {dataset} is a classification", param_hint="--task"
            )
        _check_target(dataset, target)
        if test_fraction is not None and dataset in ("mnist", "kddcup99"):
            raise typer.BadParameter(
                f"{dataset} has a test set of its own; leave it out", param_hint="--test-fraction"
            )
        return load_split(
            dataset, seed=seed, test_fraction=test_fraction or TEST_FRACTION, target=target
        )
    path = existing_file(dataset)
    try:
        return load_table_split(
            path,
            target,
            None if task is None else task.value,
            test_fraction=test_fraction or TEST_FRACTION,
            seed=seed,
        )
    except DataError as error:
        if _has_target(path, target):
            raise
        raise typer.BadParameter(str(error), param_hint="--target") from error


def load_evaluation_rows(
    model: "LoadedModel", dataset: str, target: str | None
) -> "tuple[NDArray[Any], NDArray[Any], str]":
    """Load what `parmlp evaluate MODEL DATASET` tests with.

    A data set's name stands for its held-out rows: the ones held out when the model was trained,
    if it was trained on that data set. A file stands for all its rows.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features), float32
    y : ndarray of shape (n_samples,)
    rows : str
        Which rows they are, in words.
    """
    from parmlp.datasets import read_labelled_rows

    training = model.training or {}
    if is_name(dataset):
        _check_target(dataset, target)
        return _held_out(dataset, training if training.get("dataset") == dataset else {}, target)
    _check_file_target(model, target)
    raw, y = read_labelled_rows(
        existing_file(dataset),
        model.preprocessing,
        target=target if target is not None else training.get("target"),
    )
    return model.transform(raw), y, "all rows"


def _held_out(
    dataset: str, training: dict[str, Any], target: str | None
) -> "tuple[NDArray[Any], NDArray[Any], str]":
    """Return the test rows of a named data set, as split when it was trained on, if it was."""
    from parmlp.datasets import load_kddcup99, load_mnist, load_split

    if dataset in ("mnist", "kddcup99"):
        if dataset == "mnist":
            data = load_mnist("test")
        else:
            chosen: Any = target or training.get("target") or KDD_TARGET
            data = load_kddcup99("test", target=chosen)
        return data.X, data.y, "its test set"
    split = load_split(
        dataset,
        seed=training.get("seed", 0),
        test_fraction=training.get("test_fraction") or TEST_FRACTION,
    )
    return split.X_test, split.y_test, f"held out with seed {training.get('seed', 0)}"


def is_name(dataset: str) -> bool:
    """Whether `dataset` names a data set, rather than a file."""
    from parmlp.datasets import NAMES

    return dataset in NAMES


def existing_file(path: str) -> Path:
    """Return `path` as a path.

    Raises
    ------
    typer.BadParameter
        If there is no such file; the message lists the data sets, which may have been meant.
    """
    from parmlp.datasets import NAMES

    if not Path(path).is_file():
        raise typer.BadParameter(
            f"no data set and no file '{path}'; data sets: {', '.join(NAMES)}; "
            "or give the path of a CSV, Parquet or npz file",
            param_hint="DATASET",
        )
    return Path(path)


def _has_target(path: Path, target: str | None) -> bool:
    """Whether the target is not to blame for a file that could not be split: it is a column."""
    from parmlp.datasets.tables import is_npz, read_table
    from parmlp.errors import DataError

    if is_npz(path):
        return target in (None, "y")
    try:
        return target in read_table(path).column_names
    except DataError:
        return True


def _check_target(dataset: str, target: str | None) -> None:
    from parmlp.datasets import TARGETS

    if target is None:
        return
    if dataset != "kddcup99":
        raise typer.BadParameter(
            f"{dataset} has one target only; leave it out", param_hint="--target"
        )
    if target not in TARGETS:
        raise typer.BadParameter(
            f"kddcup99 has no target '{target}'; use {', '.join(TARGETS)}", param_hint="--target"
        )


def _check_file_target(model: "LoadedModel", target: str | None) -> None:
    """Refuse a target for a file that is not what the model predicts."""
    if target is None:
        return
    trained = model.training or {}
    if trained.get("dataset") == "kddcup99":
        _check_target("kddcup99", target)
        return
    known = None if model.preprocessing is None else model.preprocessing.target
    if known is not None and known.name != target:
        raise typer.BadParameter(
            f"the model predicts '{known.name}', not '{target}'; leave it out",
            param_hint="--target",
        )
