"""Scores of predictions against labels, as JSON-able dictionaries and as tables."""

import warnings
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    mean_absolute_error,
    multilabel_confusion_matrix,
    precision_recall_fscore_support,
    r2_score,
    root_mean_squared_error,
)

from parmlp.cli.output import number_or_none, print_table
from parmlp.datasets import unseen_fraction

# Wider confusion matrices wrap on a terminal; --json has them at any size.
_WIDEST_MATRIX = 12


def classification_scores(
    y: NDArray[Any], predictions: NDArray[Any], classes: NDArray[Any]
) -> dict[str, Any]:
    """Return accuracy, and precision, recall and support of every class, and the confusion matrix.

    Parameters
    ----------
    y, predictions : ndarray of shape (n_samples,), or (n_samples, n_labels) for multilabel
        The labels and the model's answers.
    classes : ndarray of shape (n_classes,)
        The classes the model knows. Labels beyond them are listed after them.

    Returns
    -------
    dict
        `confusion_matrix[i][j]` counts the rows of class i that were taken for class j, in the
        order of `classes`; for multilabel it is one 2 x 2 matrix a label. A precision or recall
        without rows to compute it from is None.
    """
    multilabel = y.ndim == 2
    labels = classes if multilabel else np.concatenate([classes, np.setdiff1d(y, classes)])
    precision, recall, _, support = precision_recall_fscore_support(
        y, predictions, labels=None if multilabel else labels, zero_division=np.nan
    )
    with warnings.catch_warnings():
        # A model of one class has a matrix of one cell, and asks for no other.
        warnings.filterwarnings("ignore", "A single label was found")
        matrix = (
            multilabel_confusion_matrix(y, predictions)
            if multilabel
            else confusion_matrix(y, predictions, labels=labels)
        )
    return {
        "accuracy": float(accuracy_score(y, predictions)),
        "unseen_fraction": 0.0 if multilabel else unseen_fraction(y, classes),
        "classes": [
            {
                "class": label,
                "precision": number_or_none(precision[i]),
                "recall": number_or_none(recall[i]),
                "rows": int(support[i]),
                "known": i < len(classes),
            }
            for i, label in enumerate(labels.tolist())
        ],
        "confusion_matrix": matrix.tolist(),
    }


def regression_scores(y: NDArray[Any], predictions: NDArray[Any]) -> dict[str, Any]:
    """Return R2, mean absolute error and root mean squared error; R2 is None for a single row."""
    return {
        "r2": number_or_none(r2_score(y, predictions)) if len(y) > 1 else None,
        "mean_absolute_error": float(mean_absolute_error(y, predictions)),
        "root_mean_squared_error": float(root_mean_squared_error(y, predictions)),
    }


def print_classification(report: dict[str, Any]) -> None:
    """Print `classification_scores` for people."""
    typer.echo(f"{report['rows']:,} rows of {report['dataset']}, {report['which_rows']}")
    typer.echo(f"accuracy {report['accuracy']:.2%}")
    if report["unseen_fraction"]:
        typer.echo(
            f"{report['unseen_fraction']:.1%} of the rows have labels that the model never saw; "
            "they count as errors"
        )
    rows = report["classes"]
    print_table(
        ["class", "precision", "recall", "rows"],
        [
            [
                f"{row['class']}" + ("" if row["known"] else " (unseen)"),
                _percent(row["precision"]),
                _percent(row["recall"]),
                f"{row['rows']:,}",
            ]
            for row in rows
        ],
    )
    if np.ndim(report["confusion_matrix"]) == 2 and len(rows) <= _WIDEST_MATRIX:
        names = [str(row["class"]) for row in rows]
        print_table(
            ["is \\ taken for", *names],
            [
                [name, *map(str, counts)]
                for name, counts in zip(names, report["confusion_matrix"], strict=True)
            ],
        )
    else:
        typer.echo("the confusion matrix is in --json")


def print_regression(report: dict[str, Any]) -> None:
    """Print `regression_scores` for people."""
    r2 = "undefined" if report["r2"] is None else f"{report['r2']:.4f}"
    typer.echo(f"{report['rows']:,} rows of {report['dataset']}, {report['which_rows']}")
    typer.echo(f"R2 {r2}")
    typer.echo(f"mean absolute error {report['mean_absolute_error']:.6g}")
    typer.echo(f"root mean squared error {report['root_mean_squared_error']:.6g}")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
