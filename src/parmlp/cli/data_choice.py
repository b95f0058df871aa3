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
    model: "LoadedModel", dataset: str, target: str | None, *, path: Path
) -> "tuple[NDArray[Any], NDArray[Any], str]":
    """Load what `parmlp evaluate MODEL DATASET` tests with; `path` is the model's.

    A data set's name stands for its held-out rows: the ones held out when the model was trained,
    if it was trained on that data set. A file stands for all its rows.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features), float32
    y : ndarray of shape (n_samples,)
    rows : str
        Which rows they are, in words.

    Raises
    ------
    typer.BadParameter
        For no data set or file, or another target than the model's.
    parmlp.errors.DataError
        If the rows cannot be had or read, or are not such as the model takes.
    """
    from parmlp.datasets import read_labelled_rows

    training = model.training or {}
    if is_name(dataset):
        _check_target(dataset, target)
        if training.get("dataset") == dataset:
            _check_kdd_target(training, target)
        else:
            training = {}
        X, y, which = _held_out(dataset, training, target)
        _check_width(model, X, path=path, rows=dataset)
        return X, y, which
    _check_file_target(model, target)
    raw, y = read_labelled_rows(
        existing_file(dataset),
        model.preprocessing,
        target=target if target is not None else training.get("target"),
    )
    return model_rows(model, raw, model=path, rows=dataset), y, "all rows"


def model_rows(loaded: "LoadedModel", raw: Any, *, model: Path, rows: str) -> Any:
    """Return the matrix that the network takes for the raw rows of a file.

    Raises
    ------
    parmlp.errors.DataError
        If the rows are not such as the model takes; the message names both files.
    """
    from parmlp.errors import DataError

    try:
        X = loaded.transform(raw)
    except DataError as error:
        raise DataError(f"{rows} does not suit the model {model}: {error}") from error
    _check_width(loaded, X, path=model, rows=rows)
    return X


def _check_width(model: "LoadedModel", X: Any, *, path: Path, rows: str) -> None:
    """Refuse rows with another number of features than the model's."""
    from parmlp.errors import DataError

    wanted = model.estimator.n_features_in_
    if len(X.shape) == 2 and X.shape[1] != wanted:
        trained = (model.training or {}).get("dataset")
        raise DataError(
            f"{rows} has {X.shape[1]} features, but the model {path} takes {wanted}; give it rows "
            + (f"like those of {trained}" if trained else "like those it was trained on")
        )


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


def _check_kdd_target(training: dict[str, Any], target: str | None) -> None:
    """Refuse another of kddcup99's targets than the one the model was trained for."""
    trained = training.get("target")
    if None not in (target, trained) and target != trained:
        raise typer.BadParameter(
            f"the model was trained for '{trained}', not '{target}'; leave it out, or train a "
            f"model with --target {target}",
            param_hint="--target",
        )


def _check_file_target(model: "LoadedModel", target: str | None) -> None:
    """Refuse a target for a file that is not what the model predicts."""
    if target is None:
        return
    trained = model.training or {}
    if trained.get("dataset") == "kddcup99":
        _check_target("kddcup99", target)
        _check_kdd_target(trained, target)
        return
    known = None if model.preprocessing is None else model.preprocessing.target
    if known is not None and known.name != target:
        raise typer.BadParameter(
            f"the model predicts '{known.name}', not '{target}'; leave it out",
            param_hint="--target",
        )
