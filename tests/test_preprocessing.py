"""Preprocessing: the same float32 matrix from every form of raw rows, and through JSON."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parmlp.errors import DataError
from parmlp.preprocessing import (
    CategoricalColumn,
    IdentityPreprocessing,
    NumericColumn,
    PixelPreprocessing,
    Preprocessing,
    StandardPreprocessing,
    TablePreprocessing,
    Target,
)

TARGET = Target("kind", "string", "classification")

TABLE = TablePreprocessing(
    (
        NumericColumn("size", "standard", 2.0, 4.0),
        CategoricalColumn("color", ("blue", "red")),
        NumericColumn.log1p_minmax("bytes", 1000.0),
        NumericColumn("open", "standard", 0.5, 0.5, boolean=True),
    ),
    TARGET,
)

EXAMPLES = [
    PixelPreprocessing(784, 255.0, Target("label", "integer", "classification")),
    StandardPreprocessing((0.1, -3e200), (1e-9, 2.0), Target("y", "number", "regression")),
    IdentityPreprocessing(3),
    TABLE,
    TablePreprocessing((CategoricalColumn("č", ()),), None, header=False),
]

ROWS = {
    "size": [2.0, 6.0, -2.0],
    "color": ["red", "green", "blue"],
    "bytes": [0, 1000, 9],
    "open": [True, False, True],
}
EXPECTED = np.array(
    [
        [0.0, 0.0, 1.0, 0.0, 1.0],
        [1.0, 0.0, 0.0, 1.0, -1.0],
        [-1.0, 1.0, 0.0, np.log(10) / np.log(1001), 1.0],
    ],
    dtype=np.float32,
)


class TestJson:
    @pytest.mark.parametrize("preprocessing", EXAMPLES)
    def test_there_and_back(self, preprocessing: Preprocessing) -> None:
        text = json.dumps(preprocessing.to_dict(), allow_nan=False)
        assert Preprocessing.from_dict(json.loads(text)) == preprocessing

    def test_a_float_comes_back_to_the_last_bit(self) -> None:
        values = np.random.default_rng(0).lognormal(size=(100, 1)) * np.pi
        fitted = StandardPreprocessing.fit(values)
        again = Preprocessing.from_dict(json.loads(json.dumps(fitted.to_dict())))
        np.testing.assert_array_equal(again.transform(values), fitted.transform(values))

    @given(st.data())
    def test_a_record_that_is_wrong_is_a_data_error(self, data: st.DataObject) -> None:
        """Any one value of a good record replaced by anything JSON can hold, or left out."""
        record = data.draw(st.sampled_from(EXAMPLES)).to_dict()
        places = list(walk(record))
        container, key = data.draw(st.sampled_from(places))
        if data.draw(st.booleans()) and isinstance(container, dict):
            del container[key]
        else:
            container[key] = data.draw(JSON)
        try:
            rebuilt = Preprocessing.from_dict(record)
        except DataError:
            return
        assert Preprocessing.from_dict(rebuilt.to_dict()) == rebuilt

    def test_columns_the_model_does_not_know_are_ignored(self) -> None:
        # Whatever they hold: nothing is asked of them.
        wider = {"id": [None, "a", "b"], **ROWS}
        assert np.array_equal(TABLE.transform(wider), TABLE.transform(ROWS))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"kind": "pickle"}, "unknown kind 'pickle'; known: pixels"),
            ({"columns": []}, "no columns"),
            ({"columns": [TABLE.columns[0].to_dict()] * 2}, "two of the same name"),
            ({"columns": [{"type": "code", "name": "x"}]}, "unknown column type 'code'"),
            ({"target": {"name": "size", "kind": "number", "task": "regression"}}, "also an input"),
            ({"target": {"name": "y", "kind": "object", "task": "regression"}}, "target kind"),
            ({"target": {"name": "y", "kind": "number", "task": "ranking"}}, "unknown task"),
        ],
    )
    def test_what_is_wrong_is_said(self, change: dict[str, object], message: str) -> None:
        with pytest.raises(DataError, match=message):
            Preprocessing.from_dict({**TABLE.to_dict(), **change})

    @pytest.mark.parametrize("scale", [0, -1.0, True, "1", None, 10**400, float("nan")])
    def test_a_scale_that_cannot_be(self, scale: object) -> None:
        column = {**TABLE.columns[0].to_dict(), "scale": scale}
        with pytest.raises(DataError, match="scale"):
            Preprocessing.from_dict({**TABLE.to_dict(), "columns": [column]})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["standard", "log1p_minmax", "table", "pixels", "numeric", "categorical"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def walk(container: object) -> object:
    """Yield (container, key) of every value in a tree of dicts and lists."""
    keys = container if isinstance(container, dict) else range(len(container))  # type: ignore
    for key in list(keys):
        yield container, key
        if isinstance(container[key], dict | list):  # type: ignore[index]
            yield from walk(container[key])  # type: ignore[index, misc]


class TestTable:
    def test_every_form_of_rows_gives_the_same_matrix(self) -> None:
        forms = [
            pa.table(ROWS),
            pa.table(ROWS).to_batches()[0],
            ROWS,
            {name: np.array(values) for name, values in reversed(ROWS.items())},
            list(zip(*ROWS.values(), strict=True)),
            np.array(list(zip(*ROWS.values(), strict=True)), dtype=object),
            pa.table({**ROWS, "kind": ["a", "b", None]}),
            pa.table(ROWS).set_column(1, "color", pa.array(ROWS["color"]).dictionary_encode()),
            pa.concat_tables([pa.table(ROWS).slice(0, 1), pa.table(ROWS).slice(1)]),
        ]
        for rows in forms:
            X = TABLE.transform(rows)
            assert X.dtype == np.float32
            assert X.flags.c_contiguous
            np.testing.assert_allclose(X, EXPECTED, rtol=1e-6)

    def test_a_data_frame(self) -> None:
        pandas = pytest.importorskip("pandas")
        np.testing.assert_allclose(TABLE.transform(pandas.DataFrame(ROWS)), EXPECTED, rtol=1e-6)
        broken = pandas.DataFrame({**ROWS, "size": [1.0, float("nan"), None]})
        with pytest.raises(DataError, match=r"'size' \(2\) of 3 rows"):
            TABLE.transform(broken)

    def test_blocks_do_not_show(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rows = pa.concat_tables([pa.table(ROWS)] * 7)
        whole = TABLE.transform(rows)
        monkeypatch.setattr("parmlp.preprocessing.BLOCK_ROWS", 4)
        np.testing.assert_array_equal(TABLE.transform(rows), whole)
        assert TABLE.transform(rows.slice(0, 0)).shape == (0, 5)

    def test_names(self) -> None:
        assert TABLE.column_names == ("size", "color", "bytes", "open")
        assert TABLE.feature_names() == ("size", "color=blue", "color=red", "bytes", "open")
        assert (TABLE.n_features_in, TABLE.n_features_out) == (4, 5)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"size": None}, "lack 'size'; expected .*'size', 'color', 'bytes', 'open'"),
            (
                {"size": None, "weight": [1, 2, 3]},
                "lack 'size' and have 'weight', unknown to this model",
            ),
            ({"size": None, "weight": [1, 2, 3]}, "lack 'size' and have 'weight'"),
            ({"size": [1.0, None, float("nan")]}, r"missing values in column 'size' \(2\) of 3"),
            ({"color": [None, "red", None]}, r"missing values in column 'color' \(2\)"),
            ({"size": [None, None, None]}, r"missing values in column 'size' \(3\)"),
            ({"size": [1.0, float("inf"), 0.0]}, r"infinite values in column 'size' \(1\)"),
            ({"size": ["1", "2", "3"]}, "'size' holds string, .* numbers"),
            ({"color": [1, 2, 3]}, "'color' holds int64, .* strings"),
            ({"bytes": [1, -2, 3]}, "'bytes' holds -2"),
            ({"size": [1e300, 0.0, 0.0]}, "'size' holds a value that is too large for float32"),
        ],
    )
    def test_rows_that_do_not_fit_are_said(
        self, change: dict[str, list[object] | None], message: str
    ) -> None:
        rows = {name: values for name, values in {**ROWS, **change}.items() if values is not None}
        with pytest.raises(DataError, match=message):
            TABLE.transform(pa.table(rows))

    @pytest.mark.parametrize("rows", [np.zeros((2, 3)), np.zeros(4), [], [[1, 2]], 5, "abc"])
    def test_arrays_of_other_shapes(self, rows: object) -> None:
        with pytest.raises(DataError, match="rows"):
            TABLE.transform(rows)

    def test_columns_of_the_same_name(self) -> None:
        twice = pa.table([pa.array([1.0])] * 2, names=["size", "size"])
        with pytest.raises(DataError, match="'size' occurs 2 times"):
            TABLE.transform(twice)

    def test_fit(self) -> None:
        fitted = TablePreprocessing.fit(pa.table({**ROWS, "kind": ["a", "b", "c"]}), TARGET)
        assert fitted.column_names == tuple(ROWS)
        assert fitted.columns[1] == CategoricalColumn("color", ("blue", "green", "red"))
        X = fitted.transform(ROWS).astype(np.float64)
        np.testing.assert_allclose(X[:, [0, 4, 5]].mean(axis=0), 0.0, atol=1e-6)
        np.testing.assert_allclose(X[:, [0, 4, 5]].std(axis=0), 1.0, atol=1e-6)
        with pytest.raises(DataError, match="no column to learn from"):
            TablePreprocessing.fit(pa.table({"kind": ["a"]}), TARGET)

    def test_more_than_memory_holds_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*args: object, **kwargs: object) -> None:
            raise MemoryError

        monkeypatch.setattr("parmlp.preprocessing.np.zeros", full)
        with pytest.raises(DataError, match="do not fit in memory"):
            TABLE.transform(ROWS)


class TestStandard:
    @pytest.mark.parametrize("value", [0.1, 1e-300, 1e300, -7.0])
    def test_a_constant_column_becomes_zeros(self, value: float) -> None:
        """The standard deviation of equal floats may round to more than zero."""
        rows = np.full((1000, 1), value)
        fitted = StandardPreprocessing.fit(rows)
        assert fitted.scale == (1.0,)
        assert not fitted.transform(rows).any()

    def test_a_column_too_wide_to_standardize(self) -> None:
        with pytest.raises(DataError, match=r"'x1' runs from -1e.308 to 1e.308"):
            StandardPreprocessing.fit(np.array([[0, -1e308], [1, 1e308]]))

    def test_no_rows(self) -> None:
        with pytest.raises(DataError, match="no rows"):
            StandardPreprocessing.fit(np.zeros((0, 2)))

    def test_blocks_do_not_show(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rows = np.random.default_rng(0).normal(size=(50, 3))
        fitted = StandardPreprocessing.fit(rows)
        whole = fitted.transform(rows)
        monkeypatch.setattr("parmlp.preprocessing.BLOCK_ROWS", 7)
        np.testing.assert_array_equal(fitted.transform(rows), whole)

    def test_a_value_too_large(self) -> None:
        with pytest.raises(DataError, match="'x0' holds a value that is too large"):
            StandardPreprocessing((0.0,), (1.0,)).transform([[1e200]])


class TestArrays:
    @pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32, np.float64])
    def test_pixels_of_every_type_scale_alike(self, kind: type) -> None:
        rows = np.arange(256).reshape(4, 64)
        X = PixelPreprocessing(64, 255.0).transform(rows.astype(kind))
        np.testing.assert_array_equal(X, rows.astype(np.float32) / np.float32(255))
        assert X.flags.c_contiguous

    @pytest.mark.parametrize(("value", "shown"), [(256, "256"), (-1, "-1"), (1e9, "1e.09")])
    def test_a_pixel_out_of_range(self, value: float, shown: str) -> None:
        with pytest.raises(DataError, match=rf"pixel value {shown} is outside 0\.\.255"):
            PixelPreprocessing(2, 255.0).transform([[0, value]])

    @pytest.mark.parametrize("preprocessing", EXAMPLES[:3])
    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            (np.zeros((2, 5)), "have 5 values each, but this model takes"),
            (np.zeros(5), r"shape \(5,\)"),
            ([["a", "b"]], "not numbers"),
            ([[1, 2], [3]], "not an array of numbers"),
            (np.zeros((2, 3), dtype=complex), "complex128"),
            (pa.table({"a": ["x"]}), "column 'a' holds string"),
            (pa.table({"a": [1, None]}), r"'a' \(1\) of 2 rows"),
        ],
    )
    def test_what_is_wrong_is_said(
        self, preprocessing: Preprocessing, rows: object, message: str
    ) -> None:
        with pytest.raises(DataError, match=message):
            preprocessing.transform(rows)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_values_that_are_not_finite(self, bad: float) -> None:
        with pytest.raises(DataError, match="column 1 holds 2 missing or infinite"):
            IdentityPreprocessing(2).transform(np.array([[1, bad], [1, bad]]))

    def test_identity(self) -> None:
        X = IdentityPreprocessing(2).transform([[1, 2.5], [True, 4]])
        assert X.tolist() == [[1.0, 2.5], [1.0, 4.0]]
        with pytest.raises(DataError, match="'x1' holds a value that is too large"):
            IdentityPreprocessing(2).transform([[0, 1e39]])

    def test_no_rows_give_no_rows(self) -> None:
        assert PixelPreprocessing(4, 16.0).transform(np.zeros((0, 2, 2))).shape == (0, 4)
