"""`parmlp train`: what it reports is what was trained, and what it saves is the same model."""

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parmlp.cli.training
from parmlp import MLPClassifier, load_model
from parmlp._core import usable_cores
from parmlp.cli import training as cli_training
from parmlp.datasets import load_split
from parmlp.engines import cpu

QUICK = ["--hidden", "20", "--epochs", "3"]

needs_data = pytest.mark.skipif(
    "PARMLP_DATA" not in os.environ, reason="PARMLP_DATA does not name a directory with the data"
)


def sha256(estimator: Any) -> str:
    """The digest of a network's weights, written down anew from its definition."""
    digest = hashlib.sha256()
    for W, b in zip(estimator.coefs_, estimator.intercepts_, strict=True):
        digest.update(np.asarray(W, dtype="<f4").tobytes(order="C"))
        digest.update(np.asarray(b, dtype="<f4").tobytes(order="C"))
    return digest.hexdigest()


def test_report_has_all_keys_and_agrees_with_the_model(parmlp: Any) -> None:
    outcome = parmlp("train", "digits", *QUICK, "--out", "m.safetensors", "--json")
    assert outcome.code == 0
    assert outcome.err == ""
    report = outcome.json
    assert {
        *("dataset", "layers", "engine", "threads", "simd", "schedule", "epochs", "loss_curve"),
        *("train_accuracy", "test_accuracy", "seconds", "samples_per_second"),
        *("weights_sha256", "model"),
    } <= set(report)
    assert report["dataset"] == "digits"
    assert report["layers"] == [64, 20, 10]
    assert report["schedule"] == "two-phase"
    assert report["model"] == "m.safetensors"
    assert report["interrupted"] is False
    assert report["samples_per_second"] == pytest.approx(3 * 1437 / report["seconds"])

    model = load_model("m.safetensors")
    split = load_split("digits", seed=0)
    assert {w.dtype for w in model.estimator.coefs_} == {np.dtype("float32")}
    assert report["weights_sha256"] == sha256(model.estimator)
    assert report["train_accuracy"] == model.estimator.score(split.X_train, split.y_train)
    assert report["test_accuracy"] == model.estimator.score(split.X_test, split.y_test)


@pytest.mark.parametrize("epochs", [1, 15])
def test_exactly_as_many_epochs_as_asked_for(parmlp: Any, epochs: int) -> None:
    # At this rate no epoch improves the loss by the tolerance, and scikit-learn's rule would stop.
    report = parmlp("train", "--solver", "sgd", "--lr", "1e-9", "--epochs", str(epochs), "--json")
    assert report.json["epochs"] == len(report.json["loss_curve"]) == epochs


def test_all_engines_print_the_same_weights(parmlp: Any) -> None:
    digests = {}
    for status in cpu.engine_statuses():
        for threads in (1,) if status.name == "serial" else (1, 2):
            if not status.available:
                continue
            outcome = parmlp(
                *("train", *QUICK, "--engine", status.name, "--threads", str(threads), "--json")
            )
            assert outcome.json["engine"] == status.name
            assert outcome.json["threads"] == threads
            digests[status.name, threads] = outcome.json["weights_sha256"]
    assert len(digests) >= 3
    assert len(set(digests.values())) == 1


def test_defaults_are_the_paper_s_once_sigmoid_mse_and_sgd_are_asked_for(parmlp: Any) -> None:
    outcome = parmlp(
        *("train", "--hidden", "20", "--activation", "sigmoid", "--loss", "mse"),
        *("--solver", "sgd", "--lr", "0.5", "--epochs", "2", "--seed", "3", "--json"),
    )
    split = load_split("digits", seed=3)
    faithful = MLPClassifier(
        (20,),
        "sigmoid",
        loss="mse",
        solver="sgd",
        momentum=0.0,
        alpha=0.0,
        learning_rate_init=0.5,
        batch_size=64,
        weight_init="glorot_uniform",
        max_iter=2,
        n_iter_no_change=2,
        random_state=3,
    )
    with pytest.warns(UserWarning, match="Maximum iterations"):
        faithful.fit(split.X_train, split.y_train)
    assert outcome.json["weights_sha256"] == sha256(faithful)
    assert outcome.json["loss_curve"] == faithful.loss_curve_


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        (
            ["--solver", "sgd", "--momentum", "0.5", "--nesterov", "--alpha", "0.1"],
            {"solver": "sgd", "momentum": 0.5, "nesterovs_momentum": True, "alpha": 0.1},
        ),
        (["--solver", "sgd", "--momentum", "0.5"], {"nesterovs_momentum": False, "momentum": 0.5}),
        (
            ["--solver", "adamw", "--weight-decay", "0.3"],
            {"solver": "adamw", "weight_decay": 0.3, "learning_rate_init": 0.001},
        ),
        (
            ["--activation", "leaky_relu", "--leaky-relu-slope", "0.2", "--weight-init", "he"],
            {"activation": "leaky_relu", "leaky_relu_slope": 0.2, "weight_init": "he"},
        ),
        (
            ["--out-activation", "identity", "--loss", "mse", "--batch-size", "7", "--lr", "0.01"],
            {"out_activation": "identity", "batch_size": 7, "learning_rate_init": 0.01},
        ),
        (["--batch-size", "5000"], {"batch_size": 1437, "alpha": 0.0}),
        (["--schedule", "partial-gradients"], {"schedule": "partial-gradients"}),
    ],
)
def test_options_reach_the_estimator(
    parmlp: Any, options: list[str], parameters: dict[str, object]
) -> None:
    outcome = parmlp("train", "--hidden", "5", "--epochs", "1", *options, "--out", "m.safetensors")
    assert outcome.code == 0, outcome.err
    saved = load_model("m.safetensors").estimator.get_params()
    assert {name: saved[name] for name in parameters} == parameters


def test_people_are_told_the_same(parmlp: Any) -> None:
    outcome = parmlp("train", *QUICK, "--seed", "1")
    report = parmlp("train", *QUICK, "--seed", "1", "--json").json
    assert outcome.err == ""
    assert f"test accuracy {report['test_accuracy']:.2%}" in outcome.out
    assert report["weights_sha256"] in outcome.out


def test_divergence_is_an_error_that_names_the_epoch(parmlp: Any) -> None:
    outcome = parmlp(
        *("train", "--activation", "identity", "--solver", "sgd", "--lr", "1e30"),
        *("--out", "m.safetensors", "--json"),
    )
    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.err.startswith("error: ")
    assert "epoch 1 " in outcome.err
    assert not Path("m.safetensors").exists()


def test_more_threads_than_cores_warn_in_one_line(parmlp: Any) -> None:
    threads = usable_cores() + 1
    outcome = parmlp("train", *QUICK, "--engine", "threads", "--threads", str(threads), "--json")
    assert outcome.code == 0
    assert outcome.json["threads"] == threads
    assert outcome.err.startswith(f"warning: n_threads={threads} ")
    assert outcome.err.count("\n") == 1


def interrupt_during_fit(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have Ctrl-C arrive some time after the fit has begun."""
    fit = parmlp.cli.training.fit

    def interrupted_fit(*arguments: Any, **options: Any) -> None:
        timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        try:
            fit(*arguments, **options)
        finally:
            timer.cancel()

    monkeypatch.setattr(parmlp.cli.training, "fit", interrupted_fit)


@pytest.mark.parametrize("engine", ["serial", "threads"])
def test_ctrl_c_saves_the_model_and_reports_it(
    parmlp: Any, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    interrupt_during_fit(monkeypatch, 0.3)
    outcome = parmlp(
        *("train", "--epochs", "1000000", "--engine", engine, "--out", "m.safetensors", "--json")
    )
    assert outcome.code == 130
    report = outcome.json
    assert report["interrupted"] is True
    assert 0 < report["epochs"] == len(report["loss_curve"]) < 1000000
    assert sha256(load_model("m.safetensors").estimator) == report["weights_sha256"]
    assert "m.safetensors" in outcome.err


def test_ctrl_c_without_a_model_file_says_so(parmlp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_during_fit(monkeypatch, 0.3)
    outcome = parmlp("train", "--epochs", "1000000")
    assert outcome.code == 130
    assert "nothing is saved" in outcome.err


def test_ctrl_c_from_outside_ends_the_process_with_130(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "parmlp", "train", "--epochs", "1000000", "--out", "m.safetensors"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("digits")
    assert "hidden layers" in process.stdout.readline()
    # The plan is printed just before the fit.
    threading.Event().wait(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert load_model(tmp_path / "m.safetensors").estimator.coefs_[0].shape == (64, 100)


def test_progress_is_shown_on_a_terminal_and_only_there(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "parmlp", "train", "--epochs", "40", "--hidden", "400"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the terminal is gone with the process
            break
        if not piece:
            break
        shown += piece
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0
    assert b"samples/s" in shown
    assert b"loss" in shown
    assert b"left" in shown
    assert b"\x1b" not in out


def test_regression_reports_r2(parmlp: Any, houses: Path) -> None:
    outcome = parmlp(
        *("train", houses, "--target", "price", "--task", "regression"),
        *("--epochs", "150", "--lr", "0.01", "--json"),
    )
    report = outcome.json
    assert report["layers"] == [2, 100, 1]
    assert report["test_r2"] > 0.5
    assert "test_accuracy" not in report


def test_batch_of_one_row_of_held_out_rows_has_no_r2(parmlp: Any, tmp_path: Path) -> None:
    path = tmp_path / "tiny.csv"
    path.write_text("x,y\n1,1.5\n2,2.5\n3,3.5\n4,4.5\n", encoding="utf-8")
    outcome = parmlp(
        "train", path, "--target", "y", "--test-fraction", "0.25", "--epochs", "1", "--json"
    )
    assert outcome.code == 0, outcome.err
    assert outcome.json["test_r2"] is None
    assert math.isfinite(outcome.json["train_r2"])


@needs_data
def test_kddcup99_reports_labels_that_training_never_shows(parmlp: Any) -> None:
    outcome = parmlp(
        *("train", "kddcup99", "--target", "label", "--hidden", "10", "--epochs", "1"),
        *("--batch-size", "512", "--out", "m.safetensors", "--json"),
    )
    assert outcome.json["unseen_test_fraction"] == pytest.approx(0.060, abs=0.0005)
    assert outcome.json["layers"] == [122, 10, 23]
    scores = parmlp("evaluate", "m.safetensors", "kddcup99", "--json").json
    assert scores["accuracy"] == outcome.json["test_accuracy"]
    assert scores["unseen_fraction"] == outcome.json["unseen_test_fraction"]
    assert len(scores["confusion_matrix"]) == len(scores["classes"]) == 40
    unseen = [row for row in scores["classes"] if not row["known"]]
    assert len(unseen) == 17
    assert {row["recall"] for row in unseen} == {0.0}


def test_json_goes_nowhere_but_to_stdout(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "parmlp", "train", *QUICK, "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["epochs"] == 3
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_second_ctrl_c_while_scoring_leaves_the_model_saved(
    parmlp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_during_fit(monkeypatch, 0.3)

    def score(*arguments: Any, **options: Any) -> None:
        assert load_model("m.safetensors").estimator.coefs_
        press_ctrl_c()

    monkeypatch.setattr("parmlp.cli.training_report.training_report", score)
    outcome = parmlp("train", "--epochs", "1000000", "--out", "m.safetensors", "--json")
    assert outcome.code == 130
    assert outcome.out == ""
    assert "no scores; the model is saved in m.safetensors" in outcome.err


@pytest.mark.parametrize("during_fit", [False, True])
def test_ctrl_c_while_saving_waits_until_the_model_is_saved(
    parmlp: Any, monkeypatch: pytest.MonkeyPatch, during_fit: bool
) -> None:
    if during_fit:
        interrupt_during_fit(monkeypatch, 0.3)
    save = cli_training.save

    def interrupted_save(*arguments: Any) -> None:
        press_ctrl_c()
        save(*arguments)

    monkeypatch.setattr("parmlp.cli.training.save", interrupted_save)
    epochs = "1000000" if during_fit else "2"
    outcome = parmlp("train", "--epochs", epochs, "--out", "m.safetensors")
    assert outcome.code == 130
    assert "the model is saved in m.safetensors" in outcome.err
    assert load_model("m.safetensors").estimator.coefs_


def test_ctrl_c_in_the_first_epoch_says_so(parmlp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parmlp.estimators._row_order.RowOrder.next", lambda order: press_ctrl_c())
    outcome = parmlp("train")
    assert outcome.code == 130
    assert "the first epoch was not finished" in outcome.out
    assert "0 epochs" not in outcome.out
    assert "interrupted before the first epoch was finished" in outcome.err


def test_ctrl_c_while_loading_says_so(parmlp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parmlp.datasets.load_split", lambda *_, **__: press_ctrl_c())
    outcome = parmlp("train")
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "interrupted\n")
