"""What `parmlp train` reports: the JSON object, and the same for people."""

from pathlib import Path
from typing import Any

import typer

from parmlp import MLPClassifier, MLPRegressor
from parmlp.cli.output import number_or_none
from parmlp.datasets import Split
from parmlp.model_files import weights_sha256


def training_report(
    estimator: MLPClassifier | MLPRegressor, split: Split, *, model: Path | None
) -> dict[str, object]:
    """Return what is known after a fit, as `parmlp train --json` prints it.

    Scores are accuracies for classification and R2 for regression. `seconds` is training alone;
    `samples_per_second` counts each row once an epoch.
    """
    score = "accuracy" if split.task == "classification" else "r2"
    seconds = estimator.training_seconds_
    epochs = len(estimator.loss_curve_)
    return {
        "dataset": split.name,
        "task": split.task,
        "layers": [estimator.n_features_in_, *estimator.hidden_layer_sizes, estimator.n_outputs_],
        "engine": estimator.engine_,
        "threads": estimator.n_threads_,
        "simd": estimator.simd_,
        "schedule": estimator.schedule_,
        "precision": estimator.precision,
        "epochs": epochs,
        "interrupted": estimator.stop_reason_ == "interrupted",
        "loss_curve": [float(loss) for loss in estimator.loss_curve_],
        f"train_{score}": number_or_none(estimator.score(split.X_train, split.y_train)),
        f"test_{score}": number_or_none(estimator.score(split.X_test, split.y_test)),
        "unseen_test_fraction": split.unseen_fraction,
        "seconds": seconds,
        "samples_per_second": number_or_none(
            epochs * len(split.X_train) / seconds if seconds > 0 else float("nan")
        ),
        "weights_sha256": weights_sha256(estimator),
        "model": None if model is None else str(model),
    }


def print_plan(split: Split, estimator: MLPClassifier | MLPRegressor) -> None:
    """Say what is about to be trained, on what."""
    rows, features = split.X_train.shape
    widths = "-".join(map(str, estimator.hidden_layer_sizes))
    typer.echo(
        f"{split.name}: {rows:,} training rows, {len(split.X_test):,} test rows "
        f"({split.held_out}), {features} features"
    )
    typer.echo(
        f"{split.task}, hidden layers {widths}, {estimator.activation}, {estimator.loss}, "
        f"{estimator.solver} with learning rate {estimator.learning_rate_init:g}, "
        f"minibatches of {estimator.batch_size}"
    )


def print_report(report: dict[str, Any]) -> None:
    """Print `training_report` for people."""
    rate = report["samples_per_second"]
    curve = report["loss_curve"]
    typer.echo(
        f"engine {report['engine']}, {_count(report['threads'], 'thread')}, "
        f"{report['simd']}, schedule {report['schedule']}"
        + ("" if report["precision"] == "full" else f", precision {report['precision']}")
    )
    if curve:
        typer.echo(
            f"{_count(report['epochs'], 'epoch')} in {report['seconds']:.3f} s"
            + ("" if rate is None else f", {rate:,.0f} samples/s")
            + f", loss {curve[-1]:.6f}"
        )
    else:
        typer.echo("the first epoch was not finished")
    for part in ("train", "test"):
        if report["task"] == "classification":
            typer.echo(f"{part} accuracy {report[f'{part}_accuracy']:.2%}")
        else:
            r2 = report[f"{part}_r2"]
            typer.echo(f"{part} R2 {'undefined' if r2 is None else f'{r2:.4f}'}")
    if report["unseen_test_fraction"]:
        typer.echo(
            f"{report['unseen_test_fraction']:.1%} of the test rows have labels never seen in "
            "training; they count as errors"
        )
    typer.echo(f"weights sha256 {report['weights_sha256']}")
    if report["model"] is not None:
        typer.echo(f"model saved in {report['model']}")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
