"""`parmlp predict` and `parmlp evaluate`: raw rows in, the model's answers and their scores out."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest

from parmlp import load_model, save_model
from parmlp.datasets import load_digits, load_split, read_rows


def read_csv(path: Path | str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def model(parmlp: Any, flowers: Path) -> Path:
    """A model of `flowers`, trained until it knows them."""
    outcome = parmlp(
        *("train", flowers, "--target", "species", "--epochs", "100", "--lr", "0.01"),
        *("--out", "flowers.safetensors", "--json"),
    )
    assert outcome.json["test_accuracy"] > 0.9
    return Path("flowers.safetensors").resolve()


def test_round_trip_of_a_csv_with_strings(parmlp: Any, model: Path, flowers: Path) -> None:
    # The columns in another order, without the target, and a color that was never seen.
    rows = read_csv(flowers)
    with Path("new.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["width", "color", "height"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        writer.writerow({"width": "5", "color": "green", "height": "2"})
    outcome = parmlp("predict", model, "new.csv", "--out", "species.csv", "--proba", "--json")
    assert outcome.json["rows"] == len(rows) + 1

    written = read_csv("species.csv")
    names = ["daisy", "lily", "rose"]
    assert list(written[0]) == ["prediction", *(f"probability_{name}" for name in names)]
    assert len(written) == len(rows) + 1
    agree = np.mean([a["species"] == b["prediction"] for a, b in zip(rows, written, strict=False)])
    assert agree > 0.9

    loaded = load_model(model)
    raw = read_rows("new.csv", loaded.preprocessing)
    assert [row["prediction"] for row in written] == loaded.predict(raw).tolist()
    # The texts are the float32 numbers, not roundings of them.
    proba = np.array([[row[f"probability_{name}"] for name in names] for row in written])
    assert np.array_equal(proba.astype(np.float32), loaded.predict_proba(raw))


def test_predictions_of_a_table_do_not_depend_on_the_kind_of_file(
    parmlp: Any, model: Path, flowers: Path
) -> None:
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(flowers), "flowers.parquet")
    assert parmlp("predict", model, flowers, "--out", "a.csv", "--proba").code == 0
    assert parmlp("predict", model, "flowers.parquet", "--out", "b.csv", "--proba").code == 0
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()


def test_evaluation_of_a_file_agrees_with_its_predictions(
    parmlp: Any, model: Path, flowers: Path
) -> None:
    parmlp("predict", model, flowers, "--out", "p.csv")
    truth = [row["species"] for row in read_csv(flowers)]
    answers = [row["prediction"] for row in read_csv("p.csv")]
    scores = parmlp("evaluate", model, flowers, "--json").json

    pairs = list(zip(truth, answers, strict=True))
    assert scores["rows"] == len(pairs)
    assert scores["accuracy"] == pytest.approx(np.mean([a == b for a, b in pairs]))
    names = [row["class"] for row in scores["classes"]]
    assert names == ["daisy", "lily", "rose"]
    assert scores["confusion_matrix"] == [[pairs.count((a, b)) for b in names] for a in names]
    for row in scores["classes"]:
        name, right = row["class"], pairs.count((row["class"], row["class"]))
        assert row["rows"] == truth.count(name)
        assert row["recall"] == pytest.approx(right / truth.count(name))
        assert row["precision"] == pytest.approx(right / answers.count(name))


def test_labels_the_model_never_saw_count_as_errors(
    parmlp: Any, model: Path, flowers: Path
) -> None:
    rows = flowers.read_text(encoding="utf-8").splitlines()[:21]
    rows[1:6] = [row.rsplit(",", 1)[0] + ",tulip" for row in rows[1:6]]
    Path("tulips.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    scores = parmlp("evaluate", model, "tulips.csv", "--json").json
    assert scores["unseen_fraction"] == pytest.approx(0.25)
    assert scores["accuracy"] <= 0.75
    tulip = scores["classes"][-1]
    assert tulip == {
        "class": "tulip",
        "precision": None,
        "recall": 0.0,
        "rows": 5,
        "known": False,
    }
    assert "25.0% of the rows" in parmlp("evaluate", model, "tulips.csv").out


def test_evaluation_of_a_data_set_is_of_the_rows_held_out_in_training(parmlp: Any) -> None:
    trained = parmlp(
        *("train", "digits", "--seed", "5", "--test-fraction", "0.3", "--epochs", "2"),
        *("--out", "m.safetensors", "--json"),
    ).json
    scores = parmlp("evaluate", "m.safetensors", "digits", "--json").json
    assert scores["accuracy"] == trained["test_accuracy"]
    held_out = load_split("digits", seed=5, test_fraction=0.3)
    assert scores["rows"] == len(held_out.y_test)
    assert sum(map(sum, scores["confusion_matrix"])) == scores["rows"]


def test_npz_of_raw_pixels_goes_through_the_model_s_scaling(parmlp: Any) -> None:
    parmlp("train", "digits", "--epochs", "20", "--out", "m.safetensors")
    digits = load_digits()
    np.savez("raw.npz", X=digits.X * 16, y=digits.y)
    parmlp("predict", "m.safetensors", "raw.npz", "--out", "p.csv")
    answers = np.array([int(row["prediction"]) for row in read_csv("p.csv")])
    assert np.mean(answers == digits.y) > 0.9
    scores = parmlp("evaluate", "m.safetensors", "raw.npz", "--json").json
    assert scores["accuracy"] == pytest.approx(np.mean(answers == digits.y))


def test_regression_predicts_values(parmlp: Any, houses: Path) -> None:
    parmlp(
        *("train", houses, "--target", "price", "--epochs", "300", "--lr", "0.01"),
        *("--hidden", "30", "--out", "m.safetensors"),
    )
    parmlp("predict", "m.safetensors", houses, "--out", "p.csv")
    prices = np.array([float(row["price"]) for row in read_csv(houses)])
    answers = np.array([float(row["prediction"]) for row in read_csv("p.csv")])
    scores = parmlp("evaluate", "m.safetensors", houses, "--json").json
    residuals = prices - answers
    assert scores["r2"] > 0.9
    assert scores["r2"] == pytest.approx(1 - np.var(residuals) / np.var(prices), abs=1e-3)
    assert scores["mean_absolute_error"] == pytest.approx(np.abs(residuals).mean(), rel=1e-4)
    rms = np.sqrt(np.mean(residuals**2))
    assert scores["root_mean_squared_error"] == pytest.approx(rms, rel=1e-4)
    assert "R2" in parmlp("evaluate", "m.safetensors", houses).out


def test_several_labels_a_row(parmlp: Any) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 4))
    np.savez("labels.npz", X=X, y=(X[:, :3] > 0).astype(int))
    trained = parmlp("train", "labels.npz", "--epochs", "60", "--out", "m.safetensors", "--json")
    assert trained.json["layers"] == [4, 100, 3]
    parmlp("predict", "m.safetensors", "labels.npz", "--out", "p.csv", "--proba")
    columns = list(read_csv("p.csv")[0])
    assert columns == [f"{kind}_{i}" for kind in ("prediction", "probability") for i in range(3)]
    scores = parmlp("evaluate", "m.safetensors", "labels.npz", "--json").json
    assert len(scores["classes"]) == 3
    assert np.shape(scores["confusion_matrix"]) == (3, 2, 2)
    assert np.sum(scores["confusion_matrix"]) == 600
    assert parmlp("evaluate", "m.safetensors", "labels.npz").code == 0


def test_an_existing_output_is_replaced_as_a_whole(parmlp: Any, model: Path, flowers: Path) -> None:
    Path("p.csv").write_text("old\n" * 10000, encoding="utf-8")
    assert parmlp("predict", model, flowers, "--out", "p.csv").code == 0
    assert len(read_csv("p.csv")) == 240
    assert not list(Path().glob(".p.csv*"))
    assert Path("p.csv").stat().st_mode & 0o777 == flowers.stat().st_mode & 0o777


def test_columns_the_model_does_not_know_are_ignored(
    parmlp: Any, model: Path, flowers: Path
) -> None:
    lines = flowers.read_text(encoding="utf-8").splitlines()
    wider = ["id,note," + lines[0], *(f"{i},,{line}" for i, line in enumerate(lines[1:]))]
    Path("wider.csv").write_text("\n".join(wider) + "\n", encoding="utf-8")
    assert parmlp("predict", model, flowers, "--out", "a.csv").code == 0
    assert parmlp("predict", model, "wider.csv", "--out", "b.csv").code == 0
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()
    plain, more = (
        parmlp("evaluate", model, file, "--json").json for file in (flowers, "wider.csv")
    )
    assert more["confusion_matrix"] == plain["confusion_matrix"]


@pytest.mark.parametrize("loss", ["log_loss", "mse"])
def test_a_model_of_one_class(parmlp: Any, tmp_path: Path, loss: str) -> None:
    rows = "\n".join(f"{i},yes" for i in range(30))
    (tmp_path / "one.csv").write_text(f"a,b\n{rows}\n", encoding="utf-8")
    trained = parmlp(
        *("train", "one.csv", "--target", "b", "--loss", loss, "--epochs", "200"),
        *("--out", "m.safetensors"),
    )
    assert trained.code == 0, trained.err
    outcome = parmlp("predict", "m.safetensors", "one.csv", "--out", "p.csv", "--proba")
    assert outcome.code == 0, outcome.err
    written = read_csv("p.csv")
    assert list(written[0]) == ["prediction", "probability_yes"]
    assert {row["prediction"] for row in written} == {"yes"}
    assert min(float(row["probability_yes"]) for row in written) > 0.5
    outcome = parmlp("evaluate", "m.safetensors", "one.csv", "--json")
    assert outcome.err == ""
    assert outcome.json["confusion_matrix"] == [[30]]


def test_evaluation_by_another_target_than_the_model_s_is_refused(
    parmlp: Any, flowers: Path
) -> None:
    parmlp(
        *("train", flowers, "--target", "species", "--epochs", "1", "--out", "m.safetensors"),
    )
    loaded = load_model("m.safetensors")
    save_model(
        "kdd.safetensors",
        loaded.estimator,
        loaded.preprocessing,
        training={"dataset": "kddcup99", "target": "attack"},
    )
    for rows in ("kddcup99", flowers):
        outcome = parmlp("evaluate", "kdd.safetensors", rows, "--target", "category")
        assert outcome.code == 2
        assert "'attack', not 'category'" in outcome.err
