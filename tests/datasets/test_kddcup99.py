"""KDD Cup 1999: counts, columns, scaling, and labels training never shows."""

from pathlib import Path

import numpy as np
import pytest

from parmlp.datasets import Dataset, kddcup99, load_kddcup99, load_split, unseen_fraction
from parmlp.datasets.kddcup99 import CATEGORY_OF, PREPROCESSING, to_target
from parmlp.datasets.tables import read_labelled_rows, read_rows
from parmlp.errors import DataError

NAMES = PREPROCESSING.feature_names()


def counts(y: np.ndarray) -> dict[str, int]:
    return dict(zip(*(part.tolist() for part in np.unique(y, return_counts=True)), strict=True))


def column(data: Dataset, name: str) -> np.ndarray:
    return data.X[:, NAMES.index(name)]


def test_the_columns_are_38_numbers_and_84_ones() -> None:
    assert len(PREPROCESSING.columns) == 41
    assert len(NAMES) == PREPROCESSING.n_features_out == 122
    assert sum("=" in name for name in NAMES) == 3 + 70 + 11
    assert NAMES[:2] == ("duration", "protocol_type=icmp")
    assert "service=icmp" not in NAMES


def test_the_labels_are_a_normal_one_and_39_attacks_in_4_categories() -> None:
    assert len(CATEGORY_OF) == 40
    assert set(CATEGORY_OF.values()) == {"normal", "probe", "dos", "u2r", "r2l"}


def test_10_percent(kdd_train: Dataset) -> None:
    assert kdd_train.X.shape == (494_021, 122)
    assert kdd_train.X.dtype == np.float32
    assert kdd_train.X.flags.c_contiguous
    labels = counts(kdd_train.y)
    assert len(labels) == len(kdd_train.target_names) == 23
    assert labels["normal"] == 97_278
    assert labels["smurf"] == 280_790
    assert labels["neptune"] == 107_201
    assert labels["spy"] == 2
    categories = counts(to_target(kdd_train.y, "category"))
    assert categories == {
        "normal": 97_278,
        "probe": 4_107,
        "dos": 391_458,
        "u2r": 52,
        "r2l": 1_126,
    }


def test_test_set(kdd_test: Dataset) -> None:
    assert kdd_test.X.shape == (311_029, 122)
    labels = counts(kdd_test.y)
    assert len(labels) == 38
    assert labels["normal"] == 60_593
    assert labels["smurf"] == 164_091
    assert labels["neptune"] == 58_001
    categories = counts(to_target(kdd_test.y, "category"))
    assert categories == {
        "normal": 60_593,
        "probe": 4_166,
        "dos": 229_853,
        "u2r": 228,
        "r2l": 16_189,
    }
    attack = counts(to_target(kdd_test.y, "attack"))
    assert attack == {"normal": 60_593, "attack": 250_436}


def test_scaling_keeps_zeros_and_reaches_one(kdd_train: Dataset) -> None:
    """This also holds the recorded maxima against the file."""
    assert kdd_train.X.min() == 0.0
    maxima = kdd_train.X.max(axis=0)
    for name, maximum in zip(NAMES, maxima, strict=True):
        never = name in {"num_outbound_cmds", "is_host_login"} or name in {
            f"service={service}" for service in ("aol", "harvest", "http_2784", "http_8001")
        }
        assert maximum == (0.0 if never else 1.0), name
    # tcp, udp or icmp: one of them in each row, and so on
    for symbol in ("protocol_type", "service", "flag"):
        group = [i for i, name in enumerate(NAMES) if name.startswith(symbol + "=")]
        assert (kdd_train.X[:, group].sum(axis=1) == 1.0).all()


def test_the_known_traps(kdd_train: Dataset, kdd_test: Dataset) -> None:
    for data in (kdd_train, kdd_test):
        assert not column(data, "num_outbound_cmds").any()
    assert not column(kdd_train, "is_host_login").any()
    assert column(kdd_test, "is_host_login").any()
    assert len(np.unique(column(kdd_train, "su_attempted"))) == 3
    for service in ("red_i", "urh_i"):
        assert column(kdd_train, f"service={service}").any()
        assert not column(kdd_test, f"service={service}").any()
    # the service icmp, of two rows of the test set alone, is all zeros in its group
    group = [i for i, name in enumerate(NAMES) if name.startswith("service=")]
    assert (kdd_test.X[:, group].sum(axis=1) == 0.0).sum() == 2
    only_train = set(kdd_train.target_names) - set(kdd_test.target_names)
    assert only_train == {"spy", "warezclient"}
    assert len(set(kdd_test.target_names) - set(kdd_train.target_names)) == 17


def test_values_of_the_first_row(kdd_train: Dataset) -> None:
    """0,tcp,http,SF,181,5450,0,... computed by hand."""
    row = dict(zip(NAMES, kdd_train.X[0].tolist(), strict=True))
    assert row["duration"] == 0.0
    assert row["protocol_type=tcp"] == row["service=http"] == row["flag=SF"] == 1.0
    assert row["src_bytes"] == pytest.approx(np.log(182) / np.log(693_375_641), rel=1e-6)
    assert row["dst_bytes"] == pytest.approx(np.log(5451) / np.log(5_155_469), rel=1e-6)
    assert row["logged_in"] == 1.0


def test_unseen_labels_stay_in_the_test_set_and_are_reported(
    kdd_train: Dataset, kdd_test: Dataset
) -> None:
    assert unseen_fraction(kdd_test.y, kdd_train.target_names) == pytest.approx(0.0602, abs=5e-5)
    assert "snmpgetattack" in kdd_test.target_names
    assert unseen_fraction(to_target(kdd_test.y, "category"), ["normal", "dos"]) == pytest.approx(
        (4_166 + 228 + 16_189) / 311_029
    )


def test_load_split(real_data: Path, kdd_test: Dataset) -> None:
    split = load_split("kddcup99", target="category", data_dir=real_data)
    assert split.X_train.shape == (494_021, 122)
    assert split.target_names == ("dos", "normal", "probe", "r2l", "u2r")
    assert split.task == "classification"
    assert split.held_out == "own test set"
    assert split.unseen_fraction == 0.0
    np.testing.assert_array_equal(split.y_test, to_target(kdd_test.y, "category"))


def test_the_original_files_are_raw_rows_for_prediction(
    real_data: Path, kdd_test: Dataset, tmp_path: Path
) -> None:
    path = real_data / "kddcup99" / "corrected.gz"
    rows, y = read_labelled_rows(path, PREPROCESSING, target="label")
    some = rows.slice(300_000, 2_000)
    np.testing.assert_array_equal(PREPROCESSING.transform(some), kdd_test.X[300_000:302_000])
    np.testing.assert_array_equal(y, kdd_test.y)
    # without the label, and with a header
    lines = [",".join(str(value) for value in row.values()) for row in some.to_pylist()]
    (tmp_path / "unlabelled.csv").write_text("\n".join(lines))
    (tmp_path / "header.csv").write_text("\n".join([",".join(rows.column_names), *lines]))
    for name in ("unlabelled.csv", "header.csv"):
        read = PREPROCESSING.transform(read_rows(tmp_path / name, PREPROCESSING))
        np.testing.assert_array_equal(read, kdd_test.X[300_000:302_000])
    with pytest.raises(DataError, match="no column 'label'"):
        read_labelled_rows(tmp_path / "unlabelled.csv", PREPROCESSING)
    (tmp_path / "short.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines))
    with pytest.raises(DataError, match=r"expected 41 columns, or 42 with the label.* has 40"):
        read_rows(tmp_path / "short.csv", PREPROCESSING)


def test_to_target() -> None:
    labels = ["smurf.", "normal.", "httptunnel", "normal"]
    assert to_target(labels, "label").tolist() == ["smurf", "normal", "httptunnel", "normal"]
    assert to_target(labels, "category").tolist() == ["dos", "normal", "u2r", "normal"]
    assert to_target(labels, "attack").tolist() == ["attack", "normal", "attack", "normal"]
    with pytest.raises(DataError, match="'heartbleed' is not a label"):
        to_target(["heartbleed."], "category")
    with pytest.raises(DataError, match="no target 'kind'; choose one of label, category, attack"):
        to_target(labels, "kind")


def test_wrong_subset_target_and_missing_files_are_said(no_data: Path) -> None:
    with pytest.raises(DataError, match="no subset 'half'"):
        load_kddcup99("half")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no target 'kind'"):
        load_kddcup99(target="kind")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="parmlp data fetch kddcup99`"):
        load_kddcup99()
    with pytest.raises(DataError, match="parmlp data fetch kddcup99 --full`"):
        load_kddcup99("full")


def test_a_row_count_that_is_wrong_is_an_error(
    real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in (311_028, 311_030):
        monkeypatch.setitem(kddcup99.N_ROWS, "test", wrong)
        with pytest.raises(DataError, match="does not hold"):
            load_kddcup99("test", data_dir=real_data)
