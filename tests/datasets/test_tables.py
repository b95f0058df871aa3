"""CSV and Parquet: reading, and splits of them for training."""

import datetime
import decimal
import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parmlp.datasets import load_table_split, read_labelled_rows, read_rows
from parmlp.datasets.tables import read_table
from parmlp.errors import DataError
from parmlp.preprocessing import PixelPreprocessing, StandardPreprocessing, TablePreprocessing

N = 60
COLUMNS = {
    "size": [i * 0.5 for i in range(N)],
    "count": [i % 7 for i in range(N)],
    "color": ["red,dark" if i % 3 else 'a "blue"\none' for i in range(N)],
    "open": [i % 2 == 0 for i in range(N)],
    "constant": [0.1] * N,
    "kind": ["cat" if i % 4 else "dog" for i in range(N)],
}


def write_csv(path: Path, columns: dict[str, list[object]]) -> Path:
    import pyarrow.csv

    pyarrow.csv.write_csv(pa.table(columns), path)
    return path


def csv_file(tmp_path: Path, text: str, name: str = "data.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.fixture(params=["csv", "csv.gz", "tsv", "parquet"])
def table_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"data.{request.param}"
    if request.param == "parquet":
        pq.write_table(pa.table(COLUMNS), path)
    else:
        text = write_csv(tmp_path / "plain", COLUMNS).read_bytes()
        if request.param == "tsv":
            text = text.replace(b",", b"\t").replace(b"red\tdark", b"red,dark")
        path.write_bytes(gzip.compress(text) if request.param == "csv.gz" else text)
    return path


class TestSplit:
    def test_every_format_gives_the_same_split(self, table_file: Path, tmp_path: Path) -> None:
        split = load_table_split(table_file, "kind")
        again = load_table_split(write_csv(tmp_path / "again.csv", COLUMNS), "kind")
        for part in ("X_train", "X_test", "y_train", "y_test"):
            np.testing.assert_array_equal(getattr(split, part), getattr(again, part))
        assert split.name == table_file.name
        assert split.task == "classification"
        assert split.held_out == "stratified"
        assert split.target_names == ("cat", "dog")
        assert split.feature_names == (
            "size",
            "count",
            'color=a "blue"\none',
            "color=red,dark",
            "open",
            "constant",
        )
        assert split.X_train.shape == (48, 6)
        assert split.X_test.shape == (12, 6)
        assert split.X_train.dtype == split.X_test.dtype == np.float32
        assert split.X_train.flags.c_contiguous
        assert np.unique(split.y_test, return_counts=True)[1].tolist() == [9, 3]

    def test_scaling_is_learned_from_the_training_rows(self, tmp_path: Path) -> None:
        split = load_table_split(write_csv(tmp_path / "data.csv", COLUMNS), "kind")
        numbers = split.X_train[:, [0, 1, 4]].astype(np.float64)
        np.testing.assert_allclose(numbers.mean(axis=0), 0.0, atol=1e-7)
        np.testing.assert_allclose(numbers.std(axis=0), 1.0, atol=1e-6)
        assert not split.X_train[:, 5].any()
        assert not split.X_test[:, 5].any()

    def test_the_seed_decides_and_nothing_else(self, tmp_path: Path) -> None:
        path = write_csv(tmp_path / "data.csv", COLUMNS)
        first, second, other = (load_table_split(path, "size", seed=seed) for seed in (3, 3, 4))
        np.testing.assert_array_equal(first.y_test, second.y_test)
        assert not np.array_equal(first.y_test, other.y_test)

    @pytest.mark.parametrize(
        ("target", "task", "dtype"),
        [
            ("kind", "classification", "U"),
            ("open", "classification", "b"),
            ("count", "classification", "i"),
            ("size", "regression", "f"),
        ],
    )
    def test_the_task_is_inferred(self, tmp_path: Path, target: str, task: str, dtype: str) -> None:
        split = load_table_split(write_csv(tmp_path / "data.csv", COLUMNS), target)
        assert split.task == task
        assert split.y_train.dtype.kind == dtype
        assert split.unseen_fraction == 0.0
        if task == "regression":
            assert split.y_train.dtype == np.float64
            assert split.target_names == (target,)
            assert split.held_out == "shuffled"

    def test_integers_of_many_values_are_quantities(self, tmp_path: Path) -> None:
        columns = {"a": list(range(50)), "few": [i % 20 for i in range(50)]}
        path = write_csv(tmp_path / "data.csv", columns)
        assert load_table_split(path, "a").task == "regression"
        assert load_table_split(path, "few").task == "classification"
        assert load_table_split(path, "few", task="regression").y_train.dtype == np.float64
        assert load_table_split(path, "a", task="classification").held_out == "shuffled"

    def test_whole_floats_may_be_classes_when_asked_for(self, tmp_path: Path) -> None:
        path = csv_file(tmp_path, "a,y\n" + "0.5,0.0\n0.5,1.0\n" * 10)
        assert load_table_split(path, "y").task == "regression"
        split = load_table_split(path, "y", task="classification")
        assert split.y_train.dtype == np.int64

    def test_a_class_of_one_row_cannot_be_stratified(self, tmp_path: Path) -> None:
        columns = {"a": list(range(20)), "y": ["rare"] + ["common"] * 19}
        path = write_csv(tmp_path / "data.csv", columns)
        splits = [load_table_split(path, "y", seed=seed) for seed in range(10)]
        assert {split.held_out for split in splits} == {"shuffled"}
        # where the rare row is held out, it counts as unseen
        assert {split.unseen_fraction for split in splits} <= {0.0, 0.25}

    @pytest.mark.parametrize(
        ("target", "task", "message"),
        [
            (None, None, r"which column .*--target.*size, count, color"),
            ("weight", None, r"no column 'weight'.*size, count, color"),
            ("kind", "regression", "strings such as '(cat|dog)'"),
            ("size", "classification", "fractions such as|numbers such as 0.5"),
            ("size", "ranking", "unknown task 'ranking'"),
        ],
    )
    def test_a_target_that_does_not_suit_is_said(
        self, tmp_path: Path, target: str | None, task: str | None, message: str
    ) -> None:
        path = write_csv(tmp_path / "data.csv", COLUMNS)
        with pytest.raises(DataError, match=message) as caught:
            load_table_split(path, target, task=task)  # type: ignore[arg-type]
        assert "data.csv" in str(caught.value) or task == "ranking"

    @pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan"), 0.999])
    def test_a_fraction_that_leaves_a_part_empty_is_an_error(
        self, tmp_path: Path, fraction: float
    ) -> None:
        path = write_csv(tmp_path / "data.csv", COLUMNS)
        with pytest.raises(DataError, match="test_fraction"):
            load_table_split(path, "kind", test_fraction=fraction)

    def test_illegal_seeds_are_errors(self, tmp_path: Path) -> None:
        path = write_csv(tmp_path / "data.csv", COLUMNS)
        for seed in (-1, 2**32):
            with pytest.raises(DataError, match="seed is"):
                load_table_split(path, "kind", seed=seed)

    def test_too_many_categories_are_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("parmlp.preprocessing.MAX_CATEGORIES", 10)
        columns = {"name": [f"n{i}" for i in range(40)], "y": [0, 1] * 20}
        with pytest.raises(DataError, match="'name' has 32 distinct strings"):
            load_table_split(write_csv(tmp_path / "data.csv", columns), "y")

    def test_a_category_of_the_test_rows_alone_is_all_zeros(self, tmp_path: Path) -> None:
        columns = {"a": [f"c{i}" for i in range(10)], "y": [0, 1] * 5}
        split = load_table_split(write_csv(tmp_path / "data.csv", columns), "y")
        assert split.X_train.shape == (8, 8)
        assert not split.X_test.any()


class TestMissingValues:
    def test_columns_and_counts_of_the_whole_file_are_named(self, tmp_path: Path) -> None:
        rows = "".join(f"{'' if i < 3 else i},{'?' if i < 2 else 'x'},{i % 2}\n" for i in range(9))
        path = csv_file(tmp_path, "age,job,y\n" + rows)
        with pytest.raises(DataError, match=r"'age' \(3\), 'job' \(2\) of 9 rows") as caught:
            load_table_split(path, "y")
        assert "data.csv" in str(caught.value)

    @pytest.mark.parametrize("mark", ["", "NA", "nan", "NULL", "?"])
    def test_a_missing_target(self, tmp_path: Path, mark: str) -> None:
        path = csv_file(tmp_path, f"a,y\n1,x\n2,{mark}\n3,x\n")
        with pytest.raises(DataError, match=r"target column 'y' \(1\) of 3 rows"):
            load_table_split(path, "y")

    def test_a_quoted_mark_is_a_string(self, tmp_path: Path) -> None:
        rows = '"NA",0\n"FR",1\n' * 10
        split = load_table_split(csv_file(tmp_path, "country,y\n" + rows), "y")
        assert split.feature_names == ("country=FR", "country=NA")

    def test_parquet_nan_and_null(self, tmp_path: Path) -> None:
        table = pa.table({"a": [1.0, None, float("nan"), 4.0], "y": [0, 1, 0, 1]})
        pq.write_table(table, tmp_path / "data.parquet")
        with pytest.raises(DataError, match=r"'a' \(2\) of 4 rows"):
            load_table_split(tmp_path / "data.parquet", "y")

    def test_an_empty_column_is_all_missing(self, tmp_path: Path) -> None:
        path = csv_file(tmp_path, "a,b,y\n" + "1,,0\n2,,1\n" * 5)
        with pytest.raises(DataError, match=r"'b' \(10\) of 10 rows"):
            load_table_split(path, "y")

    def test_infinity(self, tmp_path: Path) -> None:
        path = csv_file(tmp_path, "a,y\n1,0\ninf,1\n-inf,0\n4,1\n")
        with pytest.raises(DataError, match=r"infinite values in column 'a' \(2\)"):
            load_table_split(path, "y")
        with pytest.raises(DataError, match="target column 'a' holds 2 missing or infinite"):
            load_table_split(path, "a")


class TestReading:
    def test_a_column_whose_first_fraction_comes_late_is_numbers(self, tmp_path: Path) -> None:
        """pyarrow alone guesses from the first megabyte and fails on the last row."""
        lines = ["a,b", *("123456789,x" for _ in range(200_000)), "0.5,y"]
        table = read_table(csv_file(tmp_path, "\n".join(lines)))
        assert table.schema.field("a").type == pa.float64()
        assert table.num_rows == 200_001

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "Empty CSV"),
            ("a,b\n", "has no rows"),
            ("a,b\n1,2\n3\n", "Expected 2 columns, got 1"),
            ("a,a\n1,2\n", "2 columns are called 'a'"),
            (",a\n0,2\n", "column 1 has no name.*index=False"),
        ],
    )
    def test_what_is_wrong_is_said(self, tmp_path: Path, text: str, message: str) -> None:
        path = csv_file(tmp_path, text)
        with pytest.raises(DataError, match=message) as caught:
            read_table(path)
        assert str(path) in str(caught.value)

    def test_unknown_kinds_of_file(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"parmlp reads CSV .* Parquet .* npz"):
            read_table(csv_file(tmp_path, "a\n1\n", "data.xlsx"))
        with pytest.raises(DataError, match="no such file"):
            read_table(tmp_path / "nothing.csv")
        (tmp_path / "folder.csv").mkdir()
        with pytest.raises(DataError, match="is not a file"):
            read_table(tmp_path / "folder.csv")

    def test_a_cut_gzip_file(self, tmp_path: Path) -> None:
        path = tmp_path / "data.csv.gz"
        path.write_bytes(gzip.compress(b"a,b\n1,2\n" * 100)[:-9])
        with pytest.raises(DataError, match="end-of-stream"):
            read_table(path)

    def test_bytes_that_are_not_utf8(self, tmp_path: Path) -> None:
        path = tmp_path / "data.csv"
        path.write_bytes(b"a,y\n" + "é,0\nb,1\n".encode("latin-1") * 5)
        with pytest.raises(DataError, match="column 'a' holds bytes that are not UTF-8"):
            load_table_split(path, "y")
        with pytest.raises(DataError, match="target column 'a' holds bytes that are not UTF-8"):
            load_table_split(path, "a")
        path.write_bytes("é,y\n1,2\n".encode("latin-1"))
        with pytest.raises(DataError, match=r"data\.csv"):
            load_table_split(path, "y")

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (pa.array([datetime.date(2020, 1, 1)] * 4), "type date32"),
            (pa.array([[1], [2], [3], [4]]), "type list"),
            (pa.array([{"b": 1}] * 4), "type struct"),
        ],
    )
    def test_types_that_are_no_features(
        self, tmp_path: Path, values: pa.Array, message: str
    ) -> None:
        pq.write_table(pa.table({"when": values, "y": [0, 1, 0, 1]}), tmp_path / "data.parquet")
        with pytest.raises(DataError, match=f"column 'when' is of {message}"):
            load_table_split(tmp_path / "data.parquet", "y")
        with pytest.raises(DataError, match=f"target column 'when' is of {message}"):
            load_table_split(tmp_path / "data.parquet", "when")

    def test_parquet_types_that_are_numbers_or_strings_in_disguise(self, tmp_path: Path) -> None:
        table = pa.table(
            {
                "decimal": [decimal.Decimal(i) for i in range(8)],
                "half": pa.array(np.arange(8, dtype=np.float16)),
                "coded": pa.array(list("abababab")).dictionary_encode(),
                "large": pa.array(list("xyxyxyxy"), pa.large_string()),
                "unsigned": pa.array(range(8), pa.uint8()),
                "y": pa.array(list("pqpqpqpq")).dictionary_encode(),
                "__index_level_0__": list(range(8)),
            }
        )
        pq.write_table(table, tmp_path / "data.parquet")
        split = load_table_split(tmp_path / "data.parquet", "y", test_fraction=0.5)
        assert split.feature_names == (
            "decimal",
            "half",
            "coded=a",
            "coded=b",
            "large=x",
            "large=y",
            "unsigned",
        )
        assert split.target_names == ("p", "q")


class TestRowsForAModel:
    """Columns have the types the model knows, whatever a file would suggest by itself."""

    @pytest.fixture
    def preprocessing(self, tmp_path: Path) -> TablePreprocessing:
        columns = {
            "zip": ["01", "2", "x"] * 8,
            "size": [0.5, 1.0, 2.0] * 8,
            "open": [True, False, True] * 8,
            "grade": ["1", "2", "A"] * 8,
        }
        split = load_table_split(write_csv(tmp_path / "train.csv", columns), "grade")
        assert isinstance(split.preprocessing, TablePreprocessing)
        return split.preprocessing

    def test_types_are_the_model_s(self, tmp_path: Path, preprocessing: TablePreprocessing) -> None:
        path = csv_file(tmp_path, "size,grade,open,zip\n1,1,true,01\n2,2,false,2\n")
        rows, y = read_labelled_rows(path, preprocessing)
        assert y.tolist() == ["1", "2"]
        X = preprocessing.transform(rows)
        assert X[:, :3].tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
        # the target may be there for predict too, or not
        for text in (path.read_text(), "size,open,zip\n1,true,01\n2,false,2\n"):
            read = read_rows(csv_file(tmp_path, text, "rows.csv"), preprocessing)
            np.testing.assert_array_equal(preprocessing.transform(read), X)

    def test_parquet_too(self, tmp_path: Path, preprocessing: TablePreprocessing) -> None:
        table = pa.table({"zip": ["01"], "size": [1], "open": [True], "grade": ["1"]})
        pq.write_table(table, tmp_path / "rows.parquet")
        rows, y = read_labelled_rows(tmp_path / "rows.parquet", preprocessing)
        assert y.tolist() == ["1"]
        assert preprocessing.transform(rows)[0, 0] == 1.0
        pq.write_table(table.set_column(0, "zip", pa.array([1])), tmp_path / "rows.parquet")
        rows = read_rows(tmp_path / "rows.parquet", preprocessing)
        with pytest.raises(DataError, match=r"'zip' holds int64, .* strings"):
            preprocessing.transform(rows)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("size,open,zip\n1,true,01\n", "no column 'grade'"),
            ("size,open,zip,grade\nbig,true,01,A\n", "'size'|big"),
            ("size,open,zip,grade\n1,maybe,01,A\n", "maybe"),
            ("size,open,zip,grade\n1,true,01,\n", r"'grade' \(1\)"),
        ],
    )
    def test_values_that_do_not_fit_are_said(
        self, tmp_path: Path, preprocessing: TablePreprocessing, text: str, message: str
    ) -> None:
        path = csv_file(tmp_path, text)
        with pytest.raises(DataError, match=message) as caught:
            read_labelled_rows(path, preprocessing)
        assert str(path) in str(caught.value)

    def test_an_npz_file_has_no_columns(
        self, tmp_path: Path, preprocessing: TablePreprocessing
    ) -> None:
        np.savez(tmp_path / "rows.npz", X=np.zeros((2, 3)))
        for read in (read_rows, read_labelled_rows):
            with pytest.raises(DataError, match="CSV or Parquet"):
                read(tmp_path / "rows.npz", preprocessing)


class TestRowsForAnArrayModel:
    PIXELS = PixelPreprocessing(4, 255.0)
    ROWS = np.array([[0, 255, 51, 102], [1, 2, 3, 4]])

    def expect(self, path: Path) -> None:
        X = self.PIXELS.transform(read_rows(path, self.PIXELS))
        np.testing.assert_array_equal(X, self.PIXELS.transform(self.ROWS))

    def test_every_format(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "rows.npz", X=self.ROWS.reshape(2, 2, 2))
        self.expect(tmp_path / "rows.npz")
        idx = b"\0\0\x08\3" + b"\0\0\0\2" * 3 + self.ROWS.astype(np.uint8).tobytes()
        (tmp_path / "images-idx3-ubyte.gz").write_bytes(gzip.compress(idx))
        self.expect(tmp_path / "images-idx3-ubyte.gz")
        lines = "0,255,51,102\n1,2,3,4\n"
        for head in ("", "0,1,2,3\n", "a,b,c,d\n"):
            self.expect(csv_file(tmp_path, head + lines))
        pq.write_table(
            pa.table(dict(zip("abcd", self.ROWS.T, strict=True))), tmp_path / "r.parquet"
        )
        self.expect(tmp_path / "r.parquet")

    def test_labels(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "rows.npz", X=self.ROWS, y=np.array([7, 8]))
        assert read_labelled_rows(tmp_path / "rows.npz", self.PIXELS)[1].tolist() == [7, 8]
        path = csv_file(tmp_path, "y,a,b,c,d\n7,0,255,51,102\n8,1,2,3,4\n")
        rows, y = read_labelled_rows(path, self.PIXELS)
        np.testing.assert_array_equal(self.PIXELS.transform(rows), self.PIXELS.transform(self.ROWS))
        assert y.tolist() == [7.0, 8.0]
        self.expect(path)
        np.savez(tmp_path / "bare.npz", X=self.ROWS)
        with pytest.raises(DataError, match="no array y"):
            read_labelled_rows(tmp_path / "bare.npz", self.PIXELS)

    def test_npz_split_and_the_types_of_its_labels(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        X = rng.normal(size=(40, 2, 3)) * 5 + 3
        path = tmp_path / "data.npz"
        np.savez(path, X=X, y=np.array(["a", "b"] * 20))
        split = load_table_split(path)
        assert isinstance(split.preprocessing, StandardPreprocessing)
        assert split.X_train.shape == (32, 6)
        assert split.target_names == ("a", "b")
        np.testing.assert_allclose(split.X_train.std(axis=0), 1.0, rtol=1e-5)
        assert load_table_split(path, "y").held_out == "stratified"
        with pytest.raises(DataError, match="its array y, not 'label'"):
            load_table_split(path, "label")
        np.savez(tmp_path / "other.npz", X=X, y=np.arange(40))
        with pytest.raises(DataError, match=r"type integer, but .* type string"):
            read_labelled_rows(tmp_path / "other.npz", split.preprocessing)

    def test_targets_of_several_columns(self, tmp_path: Path) -> None:
        X = np.arange(40.0).reshape(20, 2)
        np.savez(tmp_path / "labels.npz", X=X, y=np.eye(4, dtype=int)[np.arange(20) % 4])
        split = load_table_split(tmp_path / "labels.npz")
        assert split.task == "classification"
        assert split.y_train.shape == (16, 4)
        assert split.target_names == ("y0", "y1", "y2", "y3")
        np.savez(tmp_path / "values.npz", X=X, y=X / 3)
        assert load_table_split(tmp_path / "values.npz").task == "regression"
