"""Model files: what is saved comes back, and nothing else is believed."""

import json
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import safetensors.numpy

import parmlp
from parmlp import MLPClassifier, MLPRegressor, model_files
from parmlp.datasets import load_split
from parmlp.errors import ModelFileError
from parmlp.model_files import load_model, save_model, weights_sha256
from parmlp.preprocessing import (
    CategoricalColumn,
    IdentityPreprocessing,
    NumericColumn,
    TablePreprocessing,
    Target,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
CODES = np.arange(60) % 3


def fit(
    y: np.ndarray = CODES, estimator: type = MLPClassifier, rows: np.ndarray = X, **parameters: Any
) -> Any:
    parameters = {"hidden_layer_sizes": (5, 3), "random_state": 0, "max_iter": 3, **parameters}
    return estimator(**parameters).fit(rows, y)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


class TestThereAndBack:
    @pytest.mark.parametrize(
        "y",
        [
            CODES,
            CODES % 2,
            CODES.astype(np.uint8),
            CODES - 1.0,
            CODES == 0,
            np.array(["no", "yes", "č"])[CODES],
            np.array(["no", "yes", "maybe"], dtype=object)[CODES],
            np.eye(3, dtype=int)[CODES],
            np.zeros(60, dtype=int),
        ],
        ids=lambda y: f"{y.dtype}-{y.ndim}-{len(np.unique(y))}",
    )
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_classifiers(self, path: Path, y: np.ndarray, dtype: type) -> None:
        model = fit(y, rows=X.astype(dtype))
        save_model(path, model)
        loaded = load_model(path)
        other = loaded.estimator
        assert isinstance(other, MLPClassifier)
        assert other.classes_.dtype == model.classes_.dtype
        assert other.target_type_ == model.target_type_
        assert other.coefs_[0].dtype == dtype
        for name in ("classes_", "n_iter_", "n_layers_", "n_outputs_", "n_features_in_"):
            np.testing.assert_array_equal(getattr(other, name), getattr(model, name))
        np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
        np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
        assert loaded.weights_sha256 == weights_sha256(model) == weights_sha256(other)
        assert other.score(X, y) == model.score(X, y)
        assert loaded.preprocessing is None
        assert loaded.training is None

    @pytest.mark.parametrize("loss", ["squared_error", "poisson", "mse"])
    @pytest.mark.parametrize("n_outputs", [1, 2])
    def test_regressors(self, path: Path, loss: str, n_outputs: int) -> None:
        y = np.abs(X[:, 0]) if n_outputs == 1 else np.abs(X[:, :2])
        model = fit(y, MLPRegressor, loss=loss)
        save_model(path, model)
        loaded = load_model(path)
        assert isinstance(loaded.estimator, MLPRegressor)
        assert loaded.estimator.loss == loss
        assert loaded.predict(X).shape == y.shape
        np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
        with pytest.raises(TypeError, match="no class probabilities"):
            loaded.predict_proba(X)

    def test_training_goes_on_with_a_fresh_optimizer(self, path: Path) -> None:
        model = fit(solver="sgd", momentum=0.0, shuffle=False)
        save_model(path, model)
        loaded = load_model(path).estimator
        loaded.partial_fit(X, CODES)
        model.partial_fit(X, CODES)
        for ours, theirs in zip(loaded.coefs_, model.coefs_, strict=True):
            np.testing.assert_array_equal(ours, theirs)
            assert ours.flags.writeable

    def test_parameters_come_back_but_for_where_it_ran(self, path: Path) -> None:
        model = fit(
            activation="leaky_relu",
            leaky_relu_slope=0.1 + 0.2,
            n_iter_no_change=np.inf,
            alpha=np.float32(0.25),
            hidden_layer_sizes=[np.int64(5)],
            engine="serial",
            n_threads=1,
            callback=lambda report: None,
            random_state=np.random.RandomState(0),
        )
        save_model(path, model)
        restored = load_model(path).estimator.get_params()
        unlike = {"engine", "n_threads", "callback", "random_state", "hidden_layer_sizes"}
        for name, value in model.get_params().items():
            if name not in unlike:
                assert restored[name] == value, name
        assert restored["hidden_layer_sizes"] == (5,)
        assert restored["engine"] == "auto"
        assert all(restored[name] is None for name in ("n_threads", "callback", "random_state"))
        # scalar sizes and none at all
        for sizes in (7, ()):
            save_model(path, fit(hidden_layer_sizes=sizes))
            assert load_model(path).estimator.hidden_layer_sizes == sizes

    def test_raw_rows_and_notes(self, path: Path) -> None:
        target = Target("kind", "string", "classification")
        columns = (NumericColumn("a", "standard", 1.0, 2.0), CategoricalColumn("b", ("x", "y")))
        preprocessing = TablePreprocessing(columns, target)
        rows = pa.table({"a": RNG.normal(size=60), "b": ["x", "y", "z"] * 20})
        model = fit(rows=preprocessing.transform(rows))
        notes = {"dataset": "file.csv", "seed": 0, "nested": {"list": [1, 2.5, None]}}
        save_model(path, model, preprocessing, training=notes)
        loaded = load_model(path)
        assert loaded.preprocessing == preprocessing
        assert loaded.training == notes
        assert loaded.parmlp_version == parmlp.__version__
        expected = model.predict(preprocessing.transform(rows))
        np.testing.assert_array_equal(loaded.predict(rows), expected)
        np.testing.assert_array_equal(loaded.predict(rows.to_pydict()), expected)

    def test_feature_names(self, path: Path) -> None:
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
        save_model(path, fit(rows=frame))
        loaded = load_model(path).estimator
        assert loaded.feature_names_in_.tolist() == ["a", "b", "c", "d"]
        with pytest.raises(ValueError, match="feature names"):
            loaded.predict(frame.rename(columns={"a": "z"}))

    def test_a_real_data_set(self, path: Path) -> None:
        split = load_split("digits")
        model = fit(split.y_train, rows=split.X_train, max_iter=30)
        save_model(path, model, split.preprocessing)
        raw = split.X_test * 16
        np.testing.assert_array_equal(load_model(path).predict(raw), model.predict(split.X_test))

    def test_the_same_model_is_the_same_file(self, path: Path, tmp_path: Path) -> None:
        model = fit()
        save_model(path, model, training={"b": 1, "a": 2})
        save_model(tmp_path / "again", load_model(path).estimator, training={"b": 1, "a": 2})
        assert path.read_bytes() == (tmp_path / "again").read_bytes()

    def test_edited_weights_are_saved(self, path: Path) -> None:
        model = fit()
        model.coefs_[0][:] = 0.5
        model.intercepts_ = [np.ones_like(bias) for bias in model.intercepts_]
        save_model(path, model)
        loaded = load_model(path).estimator
        assert (loaded.coefs_[0] == 0.5).all()
        assert (loaded.intercepts_[2] == 1.0).all()

    def test_the_public_names(self) -> None:
        assert parmlp.save_model is save_model
        assert parmlp.load_model is load_model

    def test_weights_sha256_is_over_w_then_b_little_endian(self) -> None:
        import hashlib

        model = fit(hidden_layer_sizes=(2,))
        content = b"".join(
            part.astype("<f4").tobytes(order="C")
            for layer in zip(model.coefs_, model.intercepts_, strict=True)
            for part in layer
        )
        assert weights_sha256(model) == hashlib.sha256(content).hexdigest()


class TestRefusingToSave:
    def test_what_is_no_fitted_parmlp_model(self, path: Path) -> None:
        from sklearn.neural_network import MLPClassifier as Theirs

        with pytest.raises(ModelFileError, match="not fitted"):
            save_model(path, MLPClassifier())
        with pytest.raises(ModelFileError, match=r"cannot save a sklearn\."):
            save_model(path, Theirs())
        assert not path.exists()

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_weights_that_are_not_finite(self, path: Path, value: float) -> None:
        model = fit()
        model.coefs_[1][0, 0] = value
        with pytest.raises(ModelFileError, match="layer 1 has weights that are NaN or infinite"):
            save_model(path, model)

    def test_weights_that_do_not_fit_together(self, path: Path) -> None:
        model = fit()
        model.coefs_[1] = model.coefs_[1][:-1]
        with pytest.raises(ModelFileError, match="layer 1 has weights and biases of shapes"):
            save_model(path, model)
        model = fit()
        model.coefs_[1] = model.coefs_[1].astype(int)
        with pytest.raises(ModelFileError, match="not arrays of floating-point"):
            save_model(path, model)
        model.coefs_ = []
        with pytest.raises(ModelFileError, match="not arrays of floating-point"):
            save_model(path, model)

    def test_a_preprocessing_of_another_width(self, path: Path) -> None:
        with pytest.raises(ModelFileError, match="gives 5 columns, but the network has 4"):
            save_model(path, fit(), IdentityPreprocessing(5))

    @pytest.mark.parametrize("notes", [{"a": object()}, {"a": float("nan")}, {"a": b"x"}])
    def test_notes_that_json_cannot_hold(self, path: Path, notes: dict[str, Any]) -> None:
        with pytest.raises(ModelFileError, match="JSON"):
            save_model(path, fit(), training=notes)
        assert not path.exists()

    def test_class_labels_json_cannot_hold(self, path: Path) -> None:
        model = fit()
        model.classes_ = np.array([b"a", b"b", b"c"])
        with pytest.raises(ModelFileError, match=r"class labels of type \|S1 cannot be saved"):
            save_model(path, model)


@contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond ``n_bytes``, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestWriting:
    def test_a_full_disk_leaves_what_was_there(self, path: Path) -> None:
        model = fit()
        with largest_file(1000), pytest.raises(ModelFileError, match="File too large") as caught:
            save_model(path, model)
        assert str(path) in str(caught.value)
        assert list(path.parent.iterdir()) == []
        save_model(path, model)
        before = path.read_bytes()
        with largest_file(1000), pytest.raises(ModelFileError):
            save_model(path, fit(random_state=1))
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    @pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
    def test_a_step_that_fails_leaves_nothing(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
    ) -> None:
        def fail(*args: object) -> None:
            raise error

        model = fit()
        monkeypatch.setattr(os, step, fail)
        expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else ModelFileError
        with pytest.raises(expected):
            save_model(path, model)
        monkeypatch.undo()
        assert list(path.parent.iterdir()) == []

    def test_the_file_is_synced_before_it_is_renamed(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps: list[str] = []

        def noted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any) -> Any:
                steps.append(name)
                return function(*args)

            return call

        for name in ("fsync", "replace"):
            monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
        save_model(path, fit())
        assert steps == ["fsync", "replace", "fsync"]

    def test_places_that_are_no_files(self, tmp_path: Path) -> None:
        model = fit()
        with pytest.raises(ModelFileError, match="not a regular file"):
            save_model("/dev/full", model)
        with pytest.raises(ModelFileError, match="not a regular file"):
            save_model(tmp_path, model)
        with pytest.raises(ModelFileError, match="No such file or directory"):
            save_model(tmp_path / "missing" / "model", model)
        (tmp_path / "file").write_text("")
        with pytest.raises(ModelFileError, match="Not a directory"):
            save_model(tmp_path / "file" / "model", model)

    def test_a_link_stays_a_link(self, path: Path, tmp_path: Path) -> None:
        link = tmp_path / "latest"
        link.symlink_to(path.name)
        save_model(link, fit())
        assert link.is_symlink()
        assert path.is_file()
        assert load_model(link).weights_sha256

    def test_permissions_follow_the_umask(self, path: Path) -> None:
        before = os.umask(0o027)
        try:
            save_model(path, fit())
        finally:
            os.umask(before)
        assert path.stat().st_mode & 0o777 == 0o640


def rewrite(
    path: Path,
    change: Callable[[dict[str, Any]], object] = lambda description: None,
    tensors: Callable[[dict[str, np.ndarray]], object] = lambda tensors: None,
    *,
    sign: bool = True,
) -> None:
    """Change a good model file the way a forger would: with checksums that are right again."""
    arrays = safetensors.numpy.load(path.read_bytes())
    with safetensors.safe_open(path, framework="numpy") as file:
        description = json.loads(file.metadata()["parmlp"])
    tensors(arrays)
    n_layers = sum(name.startswith("coefs.") for name in arrays)
    layers = [f"{kind}.{i}" for i in range(n_layers) for kind in ("coefs", "intercepts")]
    if sign and all(name in arrays for name in layers):
        description["weights_sha256"] = model_files._digest_weights(
            [arrays[name] for name in layers[::2]], [arrays[name] for name in layers[1::2]]
        )
    change(description)
    if sign:
        description.pop("sha256", None)
        description["sha256"] = model_files._digest_description(description)
    path.write_bytes(safetensors.numpy.save(arrays, {"parmlp": json.dumps(description)}))


def put(*keys: str, value: object) -> Callable[[dict[str, Any]], object]:
    def change(description: dict[str, Any]) -> None:
        for key in keys[:-1]:
            description = description[key]
        description[keys[-1]] = value

    return change


class TestRefusingToLoad:
    @pytest.fixture
    def saved(self, path: Path) -> Path:
        """A classifier of layers 4-5-3-3 for three classes."""
        save_model(path, fit(), IdentityPreprocessing(4))
        return path

    def refuse(self, path: Path, message: str) -> None:
        with pytest.raises(ModelFileError, match=message) as caught:
            load_model(path)
        assert str(path) in str(caught.value)

    def test_the_forger_s_tool_keeps_a_good_file_good(self, saved: Path) -> None:
        rewrite(saved)
        assert load_model(saved).predict(X).shape == (60,)

    def test_no_file(self, tmp_path: Path) -> None:
        self.refuse(tmp_path / "nothing", "no such file")
        self.refuse(tmp_path, "not a file")

    @pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100, b"PK\3\4" * 100])
    def test_another_kind_of_file(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        self.refuse(path, "not a safetensors file")

    def test_a_header_that_claims_more_than_there_is(self, path: Path) -> None:
        for claim in (1 << 26, 1 << 40, 1 << 63):
            path.write_bytes(struct.pack("<Q", claim) + b"{}")
            self.refuse(path, "not a safetensors file")
        header = b'{"a":{"dtype":"F64","shape":[1099511627776,1048576],"data_offsets":[0,8]}}'
        path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
        self.refuse(path, "not a safetensors file")

    def test_somebody_else_s_safetensors_file(self, path: Path) -> None:
        safetensors.numpy.save_file({"weight": X}, path)
        self.refuse(path, "not one parmlp wrote")

    def test_every_truncation(self, saved: Path) -> None:
        content = saved.read_bytes()
        for length in {*range(0, len(content), 97), len(content) - 1}:
            saved.write_bytes(content[:length])
            self.refuse(saved, "truncated, corrupt or not a safetensors file")

    def test_every_flipped_byte_of_the_weights(self, saved: Path) -> None:
        content = bytearray(saved.read_bytes())
        start = 8 + struct.unpack("<Q", content[:8])[0]
        for place in range(start, len(content)):
            content[place] ^= 0x10
            saved.write_bytes(content)
            self.refuse(saved, "corrupt|NaN")
            content[place] ^= 0x10

    def test_a_changed_description_without_its_checksum(self, saved: Path) -> None:
        rewrite(saved, put("parameters", "alpha", value=0.5), sign=False)
        self.refuse(saved, "does not match its checksum")

    @pytest.mark.parametrize("version", [0, 2, "1", None])
    def test_an_unknown_version_is_said_before_all_else(self, saved: Path, version: object) -> None:
        rewrite(saved, put("format", value=version), sign=False)
        self.refuse(saved, r"model format .* is unknown; .* install the parmlp that wrote")

    @pytest.mark.parametrize("text", ["", "{", "[1]", "NaN", "[" * 100_000, '{"format": Infinity}'])
    def test_a_description_that_is_no_json_object(self, saved: Path, text: str) -> None:
        arrays = safetensors.numpy.load(saved.read_bytes())
        saved.write_bytes(safetensors.numpy.save(arrays, {"parmlp": text}))
        self.refuse(saved, "description is not")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (put("layer_units", value=[4, 5, 3]), "tensors missing or not described: coefs.2"),
            (put("layer_units", value=[4, 5, 3, 3, 2]), "missing or not described: coefs.3"),
            (put("layer_units", value=[4, 6, 3, 3]), "layer 0 has weights and biases of shapes"),
            (put("layer_units", value=[4]), "layer units"),
            (put("layer_units", value=[4, -5, 3, 3]), "layer units"),
            (put("layer_units", value=[4, True, 3, 3]), "layer units"),
            (put("layer_units", value=None), "layer_units"),
            (put("dtype", value="float64"), "not of the described type 'float64'"),
            (put("weights_sha256", value="0" * 64), "weights do not match their checksum"),
            (put("estimator", value="os.system"), "unknown estimator 'os.system'"),
            (put("estimator", value="MLPRegressor"), "task is 'classification'"),
            (put("task", value="regression"), "task is 'regression'"),
            (put("parameters", value=None), "'parameters'"),
            (put("parameters", "callback", value="print"), "unknown parameter 'callback'"),
            (put("parameters", "n_threads", value=10**6), "unknown parameter 'n_threads'"),
            (put("parameters", "__class__", value="x"), "unknown parameter '__class__'"),
            (put("parameters", "alpha", value=-1), "'alpha' parameter"),
            (put("parameters", "alpha", value={"infinite": 2}), "no value of one"),
            (put("parameters", "activation", value="step"), "'activation' parameter"),
            (put("parameters", "activation", value="tanh"), "its hidden_activation is 'relu'"),
            (put("parameters", "loss", value="mse"), "out_activation|agree"),
            (put("parameters", "hidden_layer_sizes", value=[5, 4]), "hidden_layer_sizes"),
            (put("parameters", "hidden_layer_sizes", value="ab"), "hidden_layer_sizes"),
            (put("parameters", "hidden_layer_sizes", value=[[5], 3]), "hidden_layer_sizes"),
            (put("out_activation", value="logistic"), "its out_activation is 'logistic'"),
            (put("loss", value="mse"), "its loss is 'mse'"),
            (put("classes", value=None), "'classes'"),
            (put("classes", "values", value=[0, 1]), "do not agree"),
            (put("classes", "values", value=[0, 1, 2, 3]), "do not agree"),
            (put("classes", "values", value=[]), "class labels are missing"),
            (put("classes", "values", value=[2, 1, 0]), "not sorted"),
            (put("classes", "values", value=[0, 1, 1]), "occur twice"),
            (put("classes", "values", value=[0, 1, "2"]), "not of their described type"),
            (put("classes", "values", value=[0, 1, True]), "not of their described type"),
            (put("classes", "values", value=[0, 1, 2**80]), "class labels are not of type int64"),
            (put("classes", "dtype", value="O"), "described type 'O'"),
            (put("multilabel", value=1), "'multilabel'"),
            (put("n_iter", value=True), "'n_iter'"),
            (put("feature_names", value=["a"]), "feature names are not 4 strings"),
            (put("feature_names", value=[1, 2, 3, 4]), "feature names are not 4 strings"),
            (put("training", value=[1]), "'training'"),
            (put("parmlp_version", value=None), "'parmlp_version'"),
            (put("preprocessing", value={"kind": "code"}), "unknown kind 'code'"),
            (put("preprocessing", "n_features", value=7), "gives 7 columns, but the network has 4"),
        ],
    )
    def test_a_description_that_contradicts_the_rest(
        self, saved: Path, change: Callable[[dict[str, Any]], object], message: str
    ) -> None:
        rewrite(saved, change)
        self.refuse(saved, message)

    @pytest.mark.parametrize(
        "field",
        ["layer_units", "dtype", "parameters", "classes", "multilabel", "n_iter", "preprocessing"],
    )
    def test_a_field_that_is_missing(self, saved: Path, field: str) -> None:
        rewrite(saved, lambda description: description.pop(field))
        self.refuse(saved, field)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda t: t.pop("coefs.1"), "missing or not described: coefs.1"),
            (lambda t: t.update(extra=X), "missing or not described: extra"),
            (lambda t: t.update({"coefs.0": t["coefs.0"].T.copy()}), "layer 0 has weights"),
            (lambda t: t.update({"coefs.0": t["coefs.0"][None]}), "layer 0 has weights"),
            (lambda t: t.update({"coefs.0": t["coefs.0"].astype("f8")}), "not of the described"),
            (lambda t: t.update({"coefs.0": t["coefs.0"].astype("f2")}), "type F16, not F32"),
            (lambda t: t.update({"coefs.0": t["coefs.0"].astype("i4")}), "type I32, not F32"),
            (lambda t: t["intercepts.2"].fill(np.nan), "layer 2 has weights that are NaN"),
            (lambda t: t["intercepts.2"].fill(np.inf), "layer 2 has weights that are NaN"),
        ],
    )
    def test_tensors_that_contradict_the_description(
        self, saved: Path, change: Callable[[dict[str, np.ndarray]], object], message: str
    ) -> None:
        def on_copies(arrays: dict[str, np.ndarray]) -> None:
            arrays.update({name: array.copy() for name, array in arrays.items()})
            change(arrays)

        rewrite(saved, tensors=on_copies)
        self.refuse(saved, message)


def test_a_model_is_loaded_in_another_process(path: Path) -> None:
    model = fit()
    save_model(path, model)
    code = (
        "import sys, numpy as np, parmlp\n"
        "print(parmlp.load_model(sys.argv[1]).predict(np.zeros((1, 4), dtype='f4'))[0])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert int(printed.stdout) == model.predict(np.zeros((1, 4), dtype=np.float32))[0]
