"""Bad arguments and bad input: one line that says what to do, an exit code, no half files."""

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from parmlp import MLPClassifier, save_model


def assert_one_error_line(outcome: Any, code: int, *fragments: str) -> None:
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    for fragment in fragments:
        assert fragment in outcome.err


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        ("train nosuch", ["nosuch", "digits", "mnist5k", "mnist", "kddcup99", "path"]),
        ("train no/such.csv --target y", ["no/such.csv"]),
        ("train --hidden 0", ["--hidden", "0"]),
        ("train --hidden 10 --hidden -3", ["--hidden", "-3"]),
        ("train --threads 0", ["--threads", "0"]),
        ("train --threads -2", ["--threads", "-2"]),
        ("train --threads 99999999999999", ["--threads", "99999999999999", "4096"]),
        ("demo --threads 4097", ["--threads", "4096"]),
        ("train --momentum 0.9", ["--momentum", "no effect", "--solver sgd"]),
        ("train --nesterov --solver adamw", ["--nesterov", "no effect", "--solver sgd"]),
        ("train --weight-decay 0.01", ["--weight-decay", "no effect", "--solver adamw"]),
        ("train --leaky-relu-slope 0.1", ["--leaky-relu-slope", "--activation leaky_relu"]),
        ("train --engine serial --threads 2", ["--threads", "serial"]),
        ("train --engine warp", ["--engine", "warp", "threads"]),
        ("train --activation step", ["--activation", "step", "sigmoid"]),
        ("train --epochs 0", ["--epochs", "0"]),
        ("train --batch-size 0", ["--batch-size", "0"]),
        ("train --lr 0", ["--lr", "0"]),
        ("train --lr nan", ["--lr", "nan"]),
        ("train --lr inf", ["--lr", "inf"]),
        ("train --lr fast", ["--lr"]),
        ("train --solver sgd --momentum 1.5", ["--momentum", "1.5"]),
        ("train --alpha -1", ["--alpha", "-1"]),
        ("train --seed -1", ["--seed", "-1"]),
        ("train --seed 4294967296", ["--seed", "4294967296"]),
        ("train --test-fraction 1", ["--test-fraction", "1"]),
        ("train mnist --test-fraction 0.5", ["--test-fraction", "test set of its own"]),
        ("train digits --target label", ["--target", "digits"]),
        ("train kddcup99 --target color", ["--target", "color", "category"]),
        ("train digits --task regression", ["--task"]),
        ("train --loss squared_error", ["--loss", "squared_error", "log_loss or mse"]),
        ("train --loss mse --out-activation softmax", ["--out-activation", "softmax"]),
        ("train --out nowhere/m.safetensors", ["--out", "nowhere"]),
        ("train --out .", ["--out", "not a regular file"]),
        ("train --nosuch", ["--nosuch"]),
        ("train digits mnist", ["mnist"]),
        ("nosuch", ["nosuch"]),
        ("predict nosuch.safetensors rows.csv --out p.csv", ["nosuch.safetensors"]),
        ("evaluate nosuch.safetensors digits", ["nosuch.safetensors"]),
        ("data path nosuch", ["nosuch", "digits"]),
        ("data fetch nosuch", ["nosuch", "digits"]),
        ("data", ["command"]),
    ],
)
def test_bad_arguments(parmlp: Any, arguments: str, fragments: list[str]) -> None:
    assert_one_error_line(parmlp(*arguments.split()), 2, *fragments)


def test_data_that_is_not_here_says_how_to_get_it(
    parmlp: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PARMLP_DATA", raising=False)
    monkeypatch.setenv("PARMLP_CACHE", str(tmp_path / "cache"))
    for arguments in (["train", "mnist", "--json"], ["data", "path", "mnist"]):
        assert_one_error_line(parmlp(*arguments), 1, "parmlp data fetch mnist", "PARMLP_DATA")


@pytest.mark.parametrize(
    ("text", "target", "fragments"),
    [
        ("a,b\n1,2\n3,\n5,\n7,8\n", "a", ["b", "2"]),
        ("a,b\n1,x\n2,y\n3\n", "a", ["rows.csv"]),
        ("a,b\n", "a", ["rows.csv", "no rows"]),
        ("", "a", ["rows.csv"]),
        ("a,b\n1,2\ninf,4\n5,6\n7,8\n9,1\n", "b", ["a"]),
    ],
)
def test_tables_that_cannot_be_trained_on(
    parmlp: Any, tmp_path: Path, text: str, target: str, fragments: list[str]
) -> None:
    (tmp_path / "rows.csv").write_text(text, encoding="utf-8")
    outcome = parmlp("train", "rows.csv", "--target", target, "--out", "m.safetensors", "--json")
    assert_one_error_line(outcome, 1, *fragments)
    assert not (tmp_path / "m.safetensors").exists()


def test_a_file_of_columns_needs_one_of_them_as_target(parmlp: Any, flowers: Path) -> None:
    assert_one_error_line(parmlp("train", flowers), 2, "--target", "species")
    outcome = parmlp("train", flowers, "--target", "price", "--json")
    assert_one_error_line(outcome, 2, "--target", "price", "species")


def test_an_npz_file_has_one_target(parmlp: Any, tmp_path: Path) -> None:
    npz(tmp_path / "t.npz")
    outcome = parmlp("train", tmp_path / "t.npz", "--target", "price")
    assert_one_error_line(outcome, 2, "--target", "price")


def parquet(path: Path) -> None:
    table = pyarrow.table({"a": range(50), "y": [i % 2 for i in range(50)]})
    pyarrow.parquet.write_table(table, path)


def npz(path: Path) -> None:
    np.savez(path, X=np.ones((50, 3)), y=np.arange(50) % 2)


@pytest.mark.parametrize(("name", "write"), [("t.parquet", parquet), ("t.npz", npz)])
@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_corrupt_tables(
    parmlp: Any, tmp_path: Path, name: str, write: Callable[[Path], None], damage: str
) -> None:
    path = tmp_path / name
    write(path)
    whole = path.read_bytes()
    path.write_bytes(
        {"truncated": whole[: len(whole) // 2], "garbage": b"x" * 500}.get(damage, b"")
    )
    arguments = ["train", path, "--json"] + (["--target", "y"] if name == "t.parquet" else [])
    assert_one_error_line(parmlp(*arguments), 1, name)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "header"])
def test_corrupt_models(parmlp: Any, flowers: Path, tmp_path: Path, damage: str) -> None:
    assert (
        parmlp(
            "train", flowers, "--target", "species", "--epochs", "1", "--out", "m.safetensors"
        ).code
        == 0
    )
    path = tmp_path / "m.safetensors"
    whole = path.read_bytes()
    path.write_bytes(
        {
            "truncated": whole[:-10],
            "garbage": b"x" * 500,
            "header": whole.replace(b'\\"layer_units\\":', b'\\"layer_unitz\\":'),
        }.get(damage, b"")
    )
    assert path.read_bytes() != whole
    outcome = parmlp("predict", path, flowers, "--out", "p.csv")
    assert_one_error_line(outcome, 1, "m.safetensors")
    assert not (tmp_path / "p.csv").exists()
    assert_one_error_line(parmlp("evaluate", path, flowers, "--json"), 1, "m.safetensors")


def test_rows_of_another_shape_than_the_model_s(parmlp: Any, flowers: Path, tmp_path: Path) -> None:
    parmlp("train", flowers, "--target", "species", "--epochs", "1", "--out", "m.safetensors")
    (tmp_path / "short.csv").write_text("color,height\nred,1\n", encoding="utf-8")
    outcome = parmlp("predict", "m.safetensors", "short.csv", "--out", "p.csv")
    assert_one_error_line(outcome, 1, "width")
    assert not (tmp_path / "p.csv").exists()


def test_another_number_of_features_than_the_model_s(
    parmlp: Any, flowers: Path, tmp_path: Path
) -> None:
    npz(tmp_path / "t.npz")
    parmlp("train", "digits", "--epochs", "1", "--out", "m.safetensors")
    outcome = parmlp("predict", "m.safetensors", "t.npz", "--out", "p.csv")
    assert_one_error_line(outcome, 1, "m.safetensors", "t.npz", "3", "64")
    outcome = parmlp("evaluate", "m.safetensors", "t.npz")
    assert_one_error_line(outcome, 1, "m.safetensors", "t.npz", "3", "64")
    parmlp("train", "t.npz", "--epochs", "1", "--out", "n.safetensors")
    outcome = parmlp("evaluate", "n.safetensors", "digits")
    assert_one_error_line(outcome, 1, "n.safetensors", "digits has 64", "takes 3", "t.npz")


def test_a_model_without_preprocessing_says_how_many_features_it_takes(
    parmlp: Any, tmp_path: Path
) -> None:
    npz(tmp_path / "t.npz")
    rng = np.random.default_rng(0)
    estimator = MLPClassifier((3,), max_iter=1000).fit(rng.random((20, 4)), np.arange(20) % 2)
    save_model("m.safetensors", estimator)
    outcome = parmlp("predict", "m.safetensors", "t.npz", "--out", "p.csv")
    assert_one_error_line(outcome, 1, "m.safetensors", "t.npz has 3", "takes 4")


def test_output_onto_an_input_is_refused(parmlp: Any, flowers: Path) -> None:
    before = flowers.read_bytes()
    parmlp("train", flowers, "--target", "species", "--epochs", "1", "--out", "m.safetensors")
    for out in (flowers, "m.safetensors"):
        outcome = parmlp("predict", "m.safetensors", flowers, "--out", out)
        assert_one_error_line(outcome, 2, "--out", "input")
    outcome = parmlp("train", flowers, "--target", "species", "--out", flowers)
    assert_one_error_line(outcome, 2, "--out", "input")
    assert flowers.read_bytes() == before


def test_probabilities_of_a_regression_are_refused(parmlp: Any, houses: Path) -> None:
    parmlp("train", houses, "--target", "price", "--epochs", "1", "--out", "m.safetensors")
    outcome = parmlp("predict", "m.safetensors", houses, "--out", "p.csv", "--proba")
    assert_one_error_line(outcome, 2, "--proba", "regression")


@pytest.mark.parametrize("command", ["train", "predict"])
def test_a_full_disk_leaves_what_was_there(
    parmlp: Any, flowers: Path, tmp_path: Path, command: str
) -> None:
    """A file size limit stands in for the full disk: the system refuses to write on."""
    parmlp("train", flowers, "--target", "species", "--epochs", "1", "--out", "m.safetensors")
    out = tmp_path / "out.file"
    out.write_text("precious", encoding="utf-8")
    files = sorted(tmp_path.iterdir())
    arguments = {
        "train": ["train", str(flowers), "--target", "species", "--epochs", "1"],
        "predict": ["predict", "m.safetensors", str(flowers)],
    }[command]
    done = subprocess.run(
        [sys.executable, "-m", "parmlp", *arguments, "--out", str(out), "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    for fragment in (str(out), "unchanged", "Free some space"):
        assert fragment in done.stderr
    assert out.read_text(encoding="utf-8") == "precious"
    assert sorted(tmp_path.iterdir()) == files


def test_a_full_disk_behind_stdout_is_an_error() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "parmlp", "data", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write to stdout: ")
    assert "free some space" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_reader_that_has_seen_enough_is_no_error_to_tell() -> None:
    reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reader.wait()
    done = subprocess.run(
        [sys.executable, "-m", "parmlp", "data", "list"],
        stdout=reader.stdin,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 1


def test_unknown_simd_target(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "parmlp", "info"],
        env={"PARMLP_SIMD": "mmx", "PATH": "", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "mmx" in done.stderr
    assert done.stderr.count("\n") == 1


def test_tracebacks_are_for_those_who_ask(
    parmlp: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PARMLP_DEBUG", "1")
    outcome = parmlp("train", "nosuch")
    assert outcome.code == 2
    assert "Traceback" in outcome.err
    assert "error: " in outcome.err


def test_a_defect_of_ours_is_called_one(parmlp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[object]:
        raise KeyError("oops")

    monkeypatch.setattr("parmlp.engines.engine_statuses", broken)
    outcome = parmlp("info", "--json")
    assert_one_error_line(outcome, 1, "KeyError", "oops", "PARMLP_DEBUG=1")
