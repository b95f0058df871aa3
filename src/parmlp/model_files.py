"""Model files: a fitted estimator and its preprocessing in one safetensors file.

The tensors are ``coefs.0``, ``intercepts.0``, ``coefs.1`` and so on; the metadata key ``parmlp``
holds a JSON description. Loading parses and checks; it runs no code from the file. A file says
which model it is, not where it runs: ``engine`` and ``n_threads`` are left to the machine that
loads it, and the optimizer's state is not kept.
"""

import contextlib
import hashlib
import json
import math
import os
import secrets
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

import parmlp
from parmlp.errors import DataError, ModelFileError
from parmlp.estimators import MLPClassifier, MLPRegressor
from parmlp.preprocessing import Preprocessing

__all__ = ["LoadedModel", "load_model", "save_model", "weights_sha256"]

# Raised by one whenever a reader of the present version would misunderstand the file.
FORMAT = 1

METADATA_KEY = "parmlp"

ESTIMATORS = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}

# Not the model's: how and where it is run, and what JSON cannot hold.
UNSAVED_PARAMETERS = frozenset({"engine", "n_threads", "adaptive_threads", "callback"})

TENSOR_TYPES = {"F32": "float32", "F64": "float64"}

# dtype of the class labels -> the Python type of one label in JSON.
CLASS_TYPES: dict[str, type] = {
    "bool": bool,
    **{f"{sign}int{bits}": int for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "float32": float,
    "float64": float,
    "str": str,
    "object": str,
}

Estimator = MLPClassifier | MLPRegressor
Weights = list[npt.NDArray[Any]]


@dataclass(frozen=True)
class LoadedModel:
    """A model read from a file, ready to predict raw rows.

    Attributes
    ----------
    estimator : MLPClassifier or MLPRegressor
        Fitted; training can go on with ``partial_fit``, with a fresh optimizer.
    preprocessing : Preprocessing or None
        None: the estimator takes rows as they are.
    training : dict or None
        What was noted on saving: data set, split and the like.
    parmlp_version : str
        Version that wrote the file.
    weights_sha256 : str
        As ``weights_sha256(estimator)``.
    """

    estimator: Estimator
    preprocessing: Preprocessing | None
    training: dict[str, Any] | None
    parmlp_version: str
    weights_sha256: str

    def transform(self, rows: Any) -> Any:
        """Return the matrix the estimator takes for raw ``rows``; DataError if they do not fit."""
        return rows if self.preprocessing is None else self.preprocessing.transform(rows)

    def predict(self, rows: Any) -> npt.NDArray[Any]:
        """Return the predicted class labels or values of raw ``rows``, shape (n,) or (n, k)."""
        predicted: npt.NDArray[Any] = self.estimator.predict(self.transform(rows))
        return predicted

    def predict_proba(self, rows: Any) -> npt.NDArray[Any]:
        """Return class probabilities of raw ``rows``, shape (n, n_classes), classifiers only."""
        if not isinstance(self.estimator, MLPClassifier):
            raise TypeError("a regressor has no class probabilities; use predict")
        probabilities: npt.NDArray[Any] = self.estimator.predict_proba(self.transform(rows))
        return probabilities


def save_model(
    path: str | os.PathLike[str],
    estimator: Estimator,
    preprocessing: Preprocessing | None = None,
    *,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write a fitted estimator to ``path``, which holds either the whole model or what it held.

    Parameters
    ----------
    path : path
        By custom ``.safetensors``. An existing file is replaced.
    estimator : MLPClassifier or MLPRegressor
        Fitted. Of its parameters ``engine``, ``n_threads``, ``adaptive_threads``, ``callback`` and
        a ``random_state`` that is no integer are not kept.
    preprocessing : Preprocessing, optional
        What turned raw rows into the rows it was fitted on.
    training : dict, optional
        Anything JSON holds that should be known later, such as data set, target and seed.

    Raises
    ------
    ModelFileError
        Not fitted, weights that are not finite or do not fit together, something JSON cannot hold,
        or the file cannot be written (the temporary file is removed then).
    """
    kind = type(estimator).__name__
    if ESTIMATORS.get(kind) is not type(estimator):
        raise ModelFileError(
            f"cannot save a {type(estimator).__module__}.{kind}; a model file holds a parmlp "
            "MLPClassifier or MLPRegressor"
        )
    if not hasattr(estimator, "coefs_"):
        raise ModelFileError(f"this {kind} is not fitted; call fit before saving it")
    coefs, intercepts = _common_dtype(estimator.coefs_, estimator.intercepts_)
    units = [coefs[0].shape[0], *(coef.shape[-1] for coef in coefs)]
    _check_weights(units, coefs, intercepts)
    _check_width(preprocessing, units)
    description = {
        "format": FORMAT,
        "parmlp_version": parmlp.__version__,
        "estimator": kind,
        "task": "classification" if isinstance(estimator, MLPClassifier) else "regression",
        "parameters": _encode_parameters(estimator.get_params(deep=False)),
        "layer_units": units,
        "hidden_activation": estimator.activation,
        "out_activation": estimator.out_activation_,
        "loss": estimator.loss,
        "dtype": str(coefs[0].dtype),
        "classes": None,
        "multilabel": False,
        "n_iter": int(estimator.n_iter_),
        "feature_names": None,
        "preprocessing": None if preprocessing is None else preprocessing.to_dict(),
        "training": None if training is None else dict(training),
        "weights_sha256": _digest_weights(coefs, intercepts),
    }
    if isinstance(estimator, MLPClassifier):
        description["classes"] = _encode_classes(estimator.classes_)
        description["multilabel"] = estimator.target_type_ == "multilabel-indicator"
    if hasattr(estimator, "feature_names_in_"):
        description["feature_names"] = [str(name) for name in estimator.feature_names_in_]
    try:
        description["sha256"] = _digest_description(description)
        text = json.dumps(description, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"the model's description does not fit into JSON: {error}") from error
    _write_whole(
        Path(path), safetensors.numpy.save(_tensors(coefs, intercepts), {METADATA_KEY: text})
    )


def load_model(path: str | os.PathLike[str]) -> LoadedModel:
    """Read a model written by ``save_model``.

    Raises
    ------
    ModelFileError
        The file is missing, truncated, corrupt, of an unknown format version, not a parmlp model,
        or its parts contradict each other.
    """
    try:
        text, tensors = _read(path)
        description = _parse(text)
        estimator = _build(description, tensors)
        record = _field(description, "preprocessing", (dict, type(None)))
        preprocessing = None if record is None else Preprocessing.from_dict(record)
        _check_width(preprocessing, description["layer_units"])
        return LoadedModel(
            estimator=estimator,
            preprocessing=preprocessing,
            training=_field(description, "training", (dict, type(None))),
            parmlp_version=_field(description, "parmlp_version", str),
            weights_sha256=description["weights_sha256"],
        )
    except (ModelFileError, DataError) as error:
        raise ModelFileError(f"{os.fspath(path)}: {error}") from error


def weights_sha256(estimator: Any) -> str:
    """Return the SHA-256 of a fitted estimator's weights, in hexadecimal.

    Over the layers in order, of each the weights (n_in, n_out) and then the biases (n_out,), in C
    order and little-endian: the same for two models only if their weights are the same bits.
    """
    return _digest_weights(estimator.coefs_, estimator.intercepts_)


# ---------------------------------------------------------------- saving


def _tensors(coefs: Weights, intercepts: Weights) -> dict[str, npt.NDArray[Any]]:
    return {
        f"{kind}.{layer}": np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        for kind, arrays in (("coefs", coefs), ("intercepts", intercepts))
        for layer, array in enumerate(arrays)
    }


def _common_dtype(coefs: Sequence[Any], intercepts: Sequence[Any]) -> tuple[Weights, Weights]:
    """Return the weights as arrays of one dtype, the estimators' rule: float32 if all are."""
    arrays = [np.asarray(array) for array in (*coefs, *intercepts)]
    if not len(coefs) or any(array.dtype.kind != "f" for array in arrays):
        raise ModelFileError("the weights are not arrays of floating-point numbers")
    single = all(array.dtype == np.float32 for array in arrays)
    arrays = [array.astype(np.float32 if single else np.float64, copy=False) for array in arrays]
    return arrays[: len(coefs)], arrays[len(coefs) :]


def _encode_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    saved = {}
    for name, value in parameters.items():
        if name in UNSAVED_PARAMETERS:
            continue
        # A RandomState has no place in JSON; the loaded estimator draws anew.
        if name == "random_state" and not isinstance(value, int | np.integer):
            continue
        saved[name] = _encode_parameter(value)
    return saved


def _encode_parameter(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray | list | tuple):
        return [_encode_parameter(item) for item in value]
    # n_iter_no_change may be infinite, which JSON has no word for.
    if isinstance(value, float) and math.isinf(value):
        return {"infinite": math.copysign(1.0, value)}
    return value


def _encode_classes(classes: npt.NDArray[Any]) -> dict[str, Any]:
    dtype = "str" if classes.dtype.kind == "U" else str(classes.dtype.newbyteorder("="))
    values = classes.tolist()
    if dtype not in CLASS_TYPES or any(type(value) is not CLASS_TYPES[dtype] for value in values):
        raise ModelFileError(
            f"class labels of type {classes.dtype} cannot be saved; use integers, booleans, floats "
            "or strings"
        )
    return {"dtype": dtype, "values": values}


def _write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that no reader, and no crash, ever meets half of it."""
    # A link keeps pointing to the file it points to, which is what is replaced.
    target = Path(os.path.realpath(path))
    temporary = target.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        if target.exists() and not stat.S_ISREG(target.stat().st_mode):
            raise ModelFileError(f"cannot save the model to {path}: it is not a regular file")
        try:
            with temporary.open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(target.parent)
    except OSError as error:
        raise ModelFileError(
            f"cannot save the model to {path} ({len(content):,} bytes): "
            f"{error.strerror or error}; what was there before is unchanged. Free some space or "
            "choose another place"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` last through a power failure."""
    # Some network file systems cannot sync a folder; the file itself is complete and in place.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# ---------------------------------------------------------------- loading


def _read(path: str | os.PathLike[str]) -> tuple[str, dict[str, npt.NDArray[Any]]]:
    """Return the description's text and the tensors, all of them float32 or float64."""
    if not os.path.isfile(path):
        raise ModelFileError("there is no such file" if not os.path.exists(path) else "not a file")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(METADATA_KEY)
            if text is None:
                raise ModelFileError(
                    "a safetensors file, but not one parmlp wrote; save models with "
                    "parmlp.save_model"
                )
            tensors = {}
            for name in file.keys():  # noqa: SIM118, a safe_open is no dict
                type_ = file.get_slice(name).get_dtype()
                if type_ not in TENSOR_TYPES:
                    raise ModelFileError(f"tensor {name!r} is of type {type_}, not F32 or F64")
                # Copied: the file's memory is not writable, and coefs_ may be edited.
                tensors[name] = np.array(file.get_tensor(name), order="C")
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelFileError(
            f"truncated, corrupt or not a safetensors file ({error}); get the model anew or train "
            "it again"
        ) from error
    return text, tensors


def _parse(text: str) -> dict[str, Any]:
    """Return the description; its version and checksum are right, its fields are yet unchecked."""
    try:
        description = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"its description is not JSON: {error}") from error
    if not isinstance(description, dict):
        raise ModelFileError("its description is not a JSON object")
    version = description.get("format")
    if version != FORMAT:
        raise ModelFileError(
            f"model format {version!r:.40} is unknown; this is parmlp {parmlp.__version__}, which "
            f"reads format {FORMAT}: install the parmlp that wrote the file"
        )
    if description.pop("sha256", None) != _digest_description(description):
        raise ModelFileError(
            "corrupt: its description does not match its checksum; get the model anew or train it "
            "again"
        )
    return description


def _build(description: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Estimator:
    """Return the fitted estimator, or raise ModelFileError where the parts do not agree."""
    units = _field(description, "layer_units", list)
    if len(units) < 2 or any(type(n) is not int or n < 1 for n in units):
        raise ModelFileError(f"layer units {units!r:.60} are not two or more positive integers")
    n_layers = len(units) - 1
    expected = {f"{kind}.{layer}" for kind in ("coefs", "intercepts") for layer in range(n_layers)}
    if set(tensors) != expected:
        wrong = sorted(expected ^ set(tensors))
        raise ModelFileError(f"tensors missing or not described: {', '.join(wrong[:6])}")
    coefs = [tensors[f"coefs.{layer}"] for layer in range(n_layers)]
    intercepts = [tensors[f"intercepts.{layer}"] for layer in range(n_layers)]
    _check_weights(units, coefs, intercepts)
    dtype = _field(description, "dtype", str)
    if any(str(array.dtype) != dtype for array in tensors.values()):
        raise ModelFileError(f"tensors are not of the described type {dtype!r}")
    if description.get("weights_sha256") != _digest_weights(coefs, intercepts):
        raise ModelFileError(
            "corrupt: its weights do not match their checksum; get the model anew or train it again"
        )
    estimator = _unfitted(description, units)
    names = _field(description, "feature_names", (list, type(None)))
    if names is not None and (
        len(names) != units[0] or not all(isinstance(name, str) for name in names)
    ):
        raise ModelFileError(f"feature names are not {units[0]} strings")
    n_iter = _field(description, "n_iter", int)
    try:
        estimator._restore_fitted(
            coefs=coefs,
            intercepts=intercepts,
            classes=_decode_classes(description),
            multilabel=_field(description, "multilabel", bool),
            n_iter=n_iter,
            feature_names=None if names is None else np.array(names, dtype=object),
        )
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"weights and classes do not agree: {error}") from error
    for field, value in (
        ("out_activation", estimator.out_activation_),
        ("hidden_activation", estimator.activation),
        ("loss", estimator.loss),
    ):
        if description.get(field) != value:
            raise ModelFileError(
                f"its {field} is {description.get(field)!r:.40}, but its parameters say {value!r}"
            )
    return estimator


def _unfitted(description: Mapping[str, Any], units: Sequence[int]) -> Estimator:
    """Return the estimator with the described parameters, checked as ``fit`` would."""
    kind = _field(description, "estimator", str)
    if kind not in ESTIMATORS:
        raise ModelFileError(f"unknown estimator {kind!r:.40}; known: {', '.join(ESTIMATORS)}")
    task = "classification" if kind == "MLPClassifier" else "regression"
    if description.get("task") != task:
        raise ModelFileError(
            f"its task is {description.get('task')!r:.40}, but a {kind} does {task}"
        )
    estimator: Estimator = ESTIMATORS[kind]()
    known = set(estimator.get_params(deep=False)) - UNSAVED_PARAMETERS
    saved = _field(description, "parameters", dict)
    unknown = sorted(set(saved) - known)
    if unknown:
        raise ModelFileError(f"unknown parameter {unknown[0]!r:.40} of {kind}")
    parameters = {name: _decode_parameter(value) for name, value in saved.items()}
    try:
        estimator.set_params(**parameters)
        estimator._validate_params()
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"parameters that cannot be: {error}") from error
    sizes = estimator.hidden_layer_sizes
    hidden = [sizes] if isinstance(sizes, int) else list(sizes)
    if hidden != list(units[1:-1]):
        raise ModelFileError(
            f"its hidden_layer_sizes {hidden!r:.60} are not its layers' {list(units[1:-1])!r:.60}"
        )
    return estimator


def _decode_parameter(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode_parameter(item) for item in value)
    if isinstance(value, dict):
        sign = value.get("infinite")
        if sign not in (1.0, -1.0) or len(value) != 1:
            raise ModelFileError(f"a parameter is {value!r:.60}, which is no value of one")
        return math.copysign(math.inf, sign)
    return value


def _decode_classes(description: Mapping[str, Any]) -> npt.NDArray[Any] | None:
    if description["task"] == "regression":
        return None
    fields = _field(description, "classes", dict)
    dtype, values = _field(fields, "dtype", str), _field(fields, "values", list)
    if dtype not in CLASS_TYPES or any(type(value) is not CLASS_TYPES[dtype] for value in values):
        raise ModelFileError(f"class labels are not of their described type {dtype!r:.40}")
    try:
        classes = np.array(values, dtype=dtype)
    except (ValueError, OverflowError) as error:
        raise ModelFileError(f"class labels are not of type {dtype}: {error}") from error
    if not classes.size or not np.array_equal(np.unique(classes), classes):
        raise ModelFileError("class labels are missing, not sorted, or occur twice")
    return classes


# ---------------------------------------------------------------- checks


def _check_weights(units: Sequence[int], coefs: Weights, intercepts: Weights) -> None:
    """Raise ModelFileError unless the weights are finite and form layers of ``units``."""
    if len(coefs) != len(intercepts):
        raise ModelFileError(f"{len(coefs)} weight matrices, but {len(intercepts)} bias vectors")
    for layer, (coef, intercept) in enumerate(zip(coefs, intercepts, strict=True)):
        shapes = (coef.shape, intercept.shape)
        wanted = ((units[layer], units[layer + 1]), (units[layer + 1],))
        if shapes != wanted:
            raise ModelFileError(
                f"layer {layer} has weights and biases of shapes {shapes}, but layers of {units} "
                f"units need {wanted}"
            )
        if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
            raise ModelFileError(
                f"layer {layer} has weights that are NaN or infinite; train again with a smaller "
                "learning rate"
            )


def _check_width(preprocessing: Preprocessing | None, units: Sequence[int]) -> None:
    if preprocessing is not None and preprocessing.n_features_out != units[0]:
        raise ModelFileError(
            f"the preprocessing gives {preprocessing.n_features_out} columns, but the network has "
            f"{units[0]} input units"
        )


def _digest_weights(coefs: Sequence[Any], intercepts: Sequence[Any]) -> str:
    digest = hashlib.sha256()
    for layer in zip(coefs, intercepts, strict=True):
        for array in layer:
            digest.update(
                np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
            )
    return digest.hexdigest()


def _digest_description(description: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a description without its own checksum, in a spelling of its own."""
    text = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _field(fields: Mapping[str, Any], key: str, type_: type | tuple[type, ...]) -> Any:
    if key not in fields:
        raise ModelFileError(f"its description lacks {key!r}")
    value = fields[key]
    # JSON's true is a Python int.
    if not isinstance(value, type_) or (isinstance(value, bool) and type_ is int):
        raise ModelFileError(f"its description has {value!r:.60} for {key!r}")
    return value
