"""X in the GPU's memory: the bits of the NumPy array, nothing copied, given back once."""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import producers
import pytest
from producers import Interface, Tensor, collect
from simulated_gpu import Simulator
from sklearn import config_context
from sklearn.datasets import load_digits

from parmlp import MLPClassifier, MLPRegressor, fit_many
from parmlp.engines.cuda import team
from parmlp.engines.cuda.arrays import PickedRows, device_array
from parmlp.engines.cuda.device import Device, Stream
from parmlp.engines.cuda.network import Rows
from parmlp.estimators._samples import Samples

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_digits(return_X_y=True)
X, Y = (X[:90] / 16).astype(np.float32), Y[:90]
W = np.linspace(0.5, 1.5, len(Y))
PARAMETERS: dict[str, Any] = {
    "hidden_layer_sizes": (12,),
    "batch_size": 32,
    "max_iter": 2,
    "random_state": 7,
    "engine": "cuda",
}

Make = Callable[..., Any]
MAKES: dict[str, Make] = {
    "dlpack": Tensor,
    "dlpack 1.0": lambda *a, **k: Tensor(*a, versioned=True, **k),
    "interface": Interface,
}


@pytest.fixture(autouse=True)
def here(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device of the tests is the one that engine='cuda' finds."""
    monkeypatch.setattr(team, "find_device", lambda: device)


@pytest.fixture(params=MAKES)
def make(request: pytest.FixtureRequest) -> Make:
    return MAKES[request.param]


def weights(model: Any) -> bytes:
    return b"".join(a.tobytes() for a in model.coefs_ + model.intercepts_)


# ------------------------------------------------------------------------- used where they lie


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_the_bits_of_the_numpy_array(
    device: Device, make: Make, early_stopping: bool, dtype: str
) -> None:
    array = X.astype(dtype)
    kind = {"early_stopping": early_stopping, "validation_fraction": 0.2}
    ours = MLPClassifier(**PARAMETERS, **kind).fit(make(device, array), Y, sample_weight=W)
    theirs = MLPClassifier(**PARAMETERS, **kind).fit(array, Y, sample_weight=W)
    assert ours.coefs_[0].dtype == dtype
    assert weights(ours) == weights(theirs)
    assert ours.loss_curve_ == theirs.loss_curve_
    assert ours.validation_scores_ == theirs.validation_scores_
    assert ours.n_features_in_ == X.shape[1]
    for predict in ("predict", "predict_proba"):
        answers = getattr(ours, predict)(make(device, array))
        assert isinstance(answers, np.ndarray)
        np.testing.assert_array_equal(answers, getattr(theirs, predict)(array))
    assert ours.score(make(device, array), Y) == theirs.score(array, Y)


def test_every_rung_reads_them(device: Device, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rung 5, which copies 16 bytes at a time where it can, and one that cannot do that."""
    monkeypatch.setattr("parmlp.engines.cuda.network._PERSISTENT_FLOPS", 0)
    for array in (X, np.ascontiguousarray(X[:, :21])):
        ours = MLPClassifier(**PARAMETERS).fit(make(device, array), Y)
        assert weights(ours) == weights(MLPClassifier(**PARAMETERS).fit(array, Y))


def test_regression_and_partial_fit(device: Device, make: Make) -> None:
    ours, theirs = (MLPRegressor(**PARAMETERS) for _ in range(2))
    for _ in range(2):
        ours.partial_fit(make(device, X), X[:, :2])
        theirs.partial_fit(X, X[:, :2])
    assert weights(ours) == weights(theirs)
    np.testing.assert_array_equal(ours.predict(make(device, X)), theirs.predict(X))


@pytest.mark.parametrize("early_stopping", [False, True])
def test_nothing_is_copied(
    simulator: Simulator, device: Device, make: Make, early_stopping: bool
) -> None:
    model = MLPClassifier(**PARAMETERS, early_stopping=early_stopping, validation_fraction=0.2)
    model.fit(X, Y).predict(make(device, X))  # compiles, and reads the programs' constants

    def copied(fit_on: Any, predict_for: Any) -> tuple[int, int]:
        before = simulator.counters()
        model.fit(fit_on, Y).predict(predict_for)
        after = simulator.counters()
        return (
            after.bytes_to_device - before.bytes_to_device,
            after.bytes_on_device - before.bytes_on_device,
        )

    host = copied(X, X)
    given = make(device, X), make(device, X)
    ours = copied(*given)
    held_out = 18 if early_stopping else 0
    saved = 2 * X.nbytes + held_out * (X[0].nbytes - 4)  # their numbers are copied instead
    assert host[0] - ours[0] == saved
    assert host[1] == ours[1]  # snapshots of the weights


def test_y_and_weights_may_lie_there_too(device: Device, make: Make) -> None:
    ours = MLPClassifier(**PARAMETERS)
    ours.fit(make(device, X), make(device, Y), sample_weight=make(device, W))
    theirs = MLPClassifier(**PARAMETERS).fit(X, Y, sample_weight=W)
    assert weights(ours) == weights(theirs)
    assert ours.score(make(device, X), make(device, Y), make(device, W)) == theirs.score(X, Y, W)
    regressor = MLPRegressor(**PARAMETERS).fit(make(device, X), make(device, X[:, 1].copy()))
    assert weights(regressor) == weights(MLPRegressor(**PARAMETERS).fit(X, X[:, 1]))
    partial = MLPClassifier(**PARAMETERS)
    partial.partial_fit(X, make(device, Y), classes=make(device, np.arange(11)))
    assert len(partial.classes_) == 11


def test_rows_that_begin_within_an_array(device: Device) -> None:
    """As X[3:] does: DLPack gives the place of the whole and an offset."""
    for array in (X, np.ascontiguousarray(X[:, :21])):
        ours = MLPClassifier(**PARAMETERS).fit(Tensor(device, array, skip=3), Y[3:])
        assert weights(ours) == weights(MLPClassifier(**PARAMETERS).fit(array[3:], Y[3:]))


def test_axes_of_one_element_may_have_any_stride(device: Device) -> None:
    one = Interface(device, X[:1], strides=(12345, 4))
    model = MLPClassifier(**PARAMETERS).fit(X, Y)
    np.testing.assert_array_equal(model.predict(one), model.predict(X[:1]))


# --------------------------------------------------------------------------------- streams


@pytest.mark.parametrize("versioned", [False, True])
def test_dlpack_is_told_the_stream_that_reads(device: Device, versioned: bool) -> None:
    tensor = Tensor(device, X, versioned=versioned)
    MLPClassifier(**PARAMETERS).fit(tensor, Y)
    assert tensor.streams == [device.stream.handle.value]


@pytest.mark.parametrize("stream", [1, 2])
def test_default_streams_are_waited_for(device: Device, stream: int) -> None:
    theirs = weights(MLPClassifier(**PARAMETERS).fit(X, Y))
    assert (
        weights(MLPClassifier(**PARAMETERS).fit(Interface(device, X, stream=stream), Y)) == theirs
    )


def test_before_version_3_the_default_stream_is_meant(device: Device) -> None:
    ours = Interface(device, X, stream=1, version=2)
    del ours.__cuda_array_interface__["stream"]
    theirs = weights(MLPClassifier(**PARAMETERS).fit(X, Y))
    assert weights(MLPClassifier(**PARAMETERS).fit(ours, Y)) == theirs


def test_what_still_writes_is_waited_for(simulator: Simulator, device: Device) -> None:
    """Fresh memory is full of NaN, and streams run in random turns."""

    def late(give: Callable[[], Any]) -> int:
        found = []
        for seed in range(20):
            simulator.reset(seed)
            found.append(device_array(give(), "X", device).find_nonfinite())
        return sum(answer is not None for answer in found)

    assert late(lambda: Tensor(device, X)) == 0
    assert late(lambda: Tensor(device, X, versioned=True)) == 0
    assert late(lambda: Interface(device, X)) == 0
    assert late(lambda: Interface(device, X, stream=1)) == 0
    # and that tells: an owner that says no stream while one is at work is read too early
    assert late(lambda: with_stream(device, None)) > 0


def with_stream(device: Device, said: int | None) -> Interface:
    """An array that says another stream than the one that writes it."""
    array = Interface(device, X)
    array.__cuda_array_interface__["stream"] = said
    return array


# ------------------------------------------------------------------------------- given back


@pytest.mark.parametrize("versioned", [False, True])
def test_the_deleter_is_called_once_after_the_fit(device: Device, versioned: bool) -> None:
    tensor = Tensor(device, X, versioned=versioned)
    during: list[int] = []
    model = MLPClassifier(
        **PARAMETERS, early_stopping=True, callback=lambda _: during.append(tensor.deleted)
    )
    model.fit(tensor, Y)
    assert during == [0, 0]
    assert (tensor.exports, tensor.deleted) == (1, 1)
    predicted = Tensor(device, X, versioned=versioned)
    model.predict(predicted)
    assert (predicted.exports, predicted.deleted) == (1, 1)
    collect()
    assert tensor.deleted == 1


def bad_labels(tensor: Any) -> None:
    MLPClassifier(**PARAMETERS).fit(tensor, Y[:5])


def diverge(tensor: Any) -> None:
    MLPClassifier(**PARAMETERS, solver="sgd", activation="identity", learning_rate_init=1e20).fit(
        tensor, Y
    )


def fail_in_callback(tensor: Any) -> None:
    def callback(_: Any) -> None:
        raise LookupError("from a callback")

    MLPClassifier(**PARAMETERS, callback=callback).fit(tensor, Y)


@pytest.mark.parametrize("fail", [bad_labels, diverge, fail_in_callback])
def test_the_deleter_is_called_once_when_fit_raises(
    device: Device, fail: Callable[[Any], None]
) -> None:
    tensor = Tensor(device, X)
    failed = False
    try:
        fail(tensor)
    except (ValueError, LookupError):
        failed = True
    collect()  # the exception's frames held it until now
    assert failed
    assert (tensor.exports, tensor.deleted) == (1, 1)


def test_no_kernel_reads_them_any_more_when_a_prediction_was_interrupted(
    simulator: Simulator, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MLPClassifier(**PARAMETERS).fit(X, Y)
    array = Interface(device, X)

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with config_context(assume_finite=True):
        monkeypatch.setattr(Device, "download", interrupted)
        # kept, since the simulator runs all when memory is freed, as the frames' is
        with pytest.raises(KeyboardInterrupt) as error:
            model.predict(array)
    counters = simulator.counters()
    assert error.tb is not None
    assert counters.kernels_run == counters.launches > 0


def test_the_owner_of_an_interface_is_held_and_let_go(device: Device) -> None:
    array = Interface(device, X)
    alive = weakref.ref(array)
    taken = device_array(array, "X", device)
    del array
    collect()
    assert alive() is not None
    np.testing.assert_array_equal(taken.to_host(), X)
    del taken
    collect()
    assert alive() is None
    model = MLPClassifier(**PARAMETERS)
    array = Interface(device, X)
    alive = weakref.ref(array)
    model.fit(array, Y).predict(array)
    del array
    collect()
    assert alive() is None  # the fitted estimator keeps nothing of its rows


# ---------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("values", [[np.nan], [np.inf], [-np.inf], [np.inf, np.nan]])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_that_are_not_finite(
    device: Device, make: Make, values: list[float], dtype: str
) -> None:
    bad = X.astype(dtype)
    bad.flat[-len(values) :] = values
    fitted = MLPClassifier(**PARAMETERS, dtype=dtype).fit(X, Y)
    for call in (lambda a: MLPClassifier(**PARAMETERS).fit(a, Y), fitted.predict):
        with pytest.raises(ValueError, match="Input X contains") as theirs:
            call(bad)
        with pytest.raises(ValueError, match="Input X contains") as ours:
            call(make(device, bad))
        assert str(ours.value) == str(theirs.value)
    with config_context(assume_finite=True):
        assert np.isfinite(fitted.predict(make(device, X.astype(dtype)))).all()
        fitted.predict_proba(make(device, bad))  # as scikit-learn has it: not looked at


def test_a_number_that_is_not_finite_is_found_wherever_it_is(device: Device) -> None:
    rows = np.zeros((700, 211), np.float32)  # more than one number a thread
    assert device_array(Interface(device, rows), "X", device).find_nonfinite() is None
    for place in (0, 31, 65536, rows.size - 1):
        spoiled = rows.copy()
        spoiled.flat[place] = np.inf
        assert device_array(Interface(device, spoiled), "X", device).find_nonfinite() == np.inf


FITS: dict[str, tuple[Callable[[Device], Any], str]] = {
    "one axis": (lambda d: Tensor(d, X[0].copy()), r"must be a matrix.*shape \(64,\).*reshape"),
    "three axes": (
        lambda d: Interface(d, X[:, :, None].copy()),
        r"must be a matrix.*\(90, 64, 1\)",
    ),
    "float16": (lambda d: Tensor(d, X.astype(np.float16)), r"is of float16.*X\.float\(\)"),
    "integers": (
        lambda d: Interface(d, X.astype(np.int64)),
        r"is of int64 where .* float32 or float64.*X\.astype\('float32'\)",
    ),
    "complex": (lambda d: Tensor(d, X.astype(np.complex64)), "is of complex64"),
    "bfloat16": (
        lambda d: Tensor(d, X.astype(np.float16), code=4),
        r"^X, a .*Tensor of .*has elements of bfloat16.*\.float\(\)",
    ),
    "vectors": (lambda d: Tensor(d, X, lanes=4), "has elements of float32x4"),
    "a new type": (lambda d: Tensor(d, X, code=17), "DLPack's type 17 of bits 32"),
    "foreign byte order": (lambda d: Interface(d, X, typestr=">f4"), "has elements of >f4"),
    "records": (lambda d: Interface(d, X, typestr="|V4"), r"has elements of \|V4"),
    "transposed": (
        lambda d: Tensor(d, np.asfortranarray(X)),
        r"shape \(90, 64\) is not C-contiguous \(strides of \(4, 360\) bytes\).*X\.contiguous\(\)",
    ),
    "every second column": (
        lambda d: Interface(d, X, shape=(90, 32), strides=(256, 8)),
        "not C-contiguous.*ascontiguousarray",
    ),
    "between two numbers": (
        lambda d: Tensor(d, X, byte_offset=2),
        "no multiple of its elements' 4 bytes.*clone",
    ),
    "another GPU, by DLPack": (
        lambda d: Tensor(d, X, device_id=3),
        r"is on CUDA device 3, and engine='cuda' runs on device 0.*cuda:0.*CUDA_VISIBLE_DEVICES",
    ),
    "masked": (lambda d: Interface(d, X, mask=object()), "is masked"),
    "freed": (lambda d: Interface(d, X, data=(4096, False)), "lies at 0x1000, which is not CUDA's"),
    "stream 0": (lambda d: with_stream(d, 0), "stream 0, which"),
    "half an interface": (lambda d: Interface(d, X, typestr="absent"), r"cannot be read.*typestr"),
    "no rows": (lambda d: Interface(d, X[:0]), r"Found array with 0 sample\(s\)"),
    "no features": (lambda d: Tensor(d, X[:, :0]), r"Found array with 0 feature\(s\)"),
    "other rows than y": (lambda d: Tensor(d, X[:80]), "inconsistent numbers of samples"),
    "a new version": (
        lambda d: Tensor(d, X, versioned=True, major=2),
        r"could not be taken by DLPack \(its capsule is of DLPack 2\.0, and parmlp knows 1\)",
    ),
}


@pytest.mark.parametrize("case", FITS)
def test_what_cannot_be_trained_on_says_what_to_do(device: Device, case: str) -> None:
    given, message = FITS[case]
    array = given(device)
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**PARAMETERS).fit(array, Y)
    collect()
    if isinstance(array, Tensor):
        assert array.deleted == array.exports


def test_memory_of_another_gpu(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    array = Interface(device, X)
    monkeypatch.setattr(device, "ordinal", 1)
    with pytest.raises(ValueError, match="is on CUDA device 0, and engine='cuda' runs on device 1"):
        MLPClassifier(**PARAMETERS).fit(array, Y)


def test_the_networks_dtype_decides(device: Device, make: Make) -> None:
    double = X.astype(np.float64)
    with pytest.raises(ValueError, match=r"of float64 where the network needs float32.*\.float\("):
        MLPClassifier(**PARAMETERS, dtype="float32").fit(make(device, double), Y)
    with pytest.raises(ValueError, match=r"of float64 where the network needs float32"):
        MLPClassifier(**PARAMETERS, precision="bf16").fit(make(device, double), Y)
    model = MLPClassifier(**PARAMETERS).fit(double, Y)
    with pytest.raises(ValueError, match=r"of float32 where the network needs float64.*\.double\("):
        model.predict(make(device, X))
    with pytest.raises(ValueError, match="X has 20 features, but MLPClassifier is expecting 64"):
        model.predict(make(device, double[:, :20].copy()))


def test_a_producer_that_refuses(device: Device) -> None:
    class Refusing(Tensor):
        def __dlpack__(self, **_: Any) -> Any:
            raise BufferError("it needs a gradient")

    class Empty(Tensor):
        def __dlpack__(self, **_: Any) -> Any:
            return object()

    with pytest.raises(ValueError, match=r"\(it needs a gradient\).*X\.detach\(\)"):
        MLPClassifier(**PARAMETERS).fit(Refusing(device, X), Y)
    with pytest.raises(ValueError, match="did not return a DLPack capsule"):
        MLPClassifier(**PARAMETERS).fit(Empty(device, X), Y)


def test_a_producer_that_contradicts_itself(device: Device) -> None:
    class Confused(Tensor):
        def __dlpack_device__(self) -> tuple[int, int]:
            return producers.CUDA, 0

    confused = Confused(device, X, device_type=1)
    with pytest.raises(ValueError, match="gives away memory of DLPack's device type 1"):
        MLPClassifier(**PARAMETERS).fit(confused, Y)
    collect()
    assert confused.deleted == 1


def test_the_cpu_engines_leave_them_alone(device: Device, make: Make) -> None:
    array = make(device, X)
    serial = {**PARAMETERS, "engine": "serial"}
    cuda = MLPClassifier(**PARAMETERS)
    for call in (
        lambda: MLPClassifier(**serial).fit(array, Y),
        lambda: MLPClassifier(**serial).fit(X, Y).predict(array),
        lambda: fit_many([cuda, MLPClassifier(**serial)], array, Y),
    ):
        with pytest.raises(ValueError, match=r"X\.cpu\(\).*or set engine='cuda'"):
            call()
    assert getattr(array, "exports", 0) == 0


def test_samples_are_checked_once_for_many(device: Device) -> None:
    tensor = Tensor(device, X)
    samples = Samples(tensor, Y, None, "cuda")
    models = [MLPClassifier(**PARAMETERS, alpha=alpha) for alpha in (0.0, 0.1)]
    fits = [model._check_fit(samples, incremental=False) for model in models]
    assert fits[0].rows is fits[1].rows
    assert tensor.exports == 1


def test_picked_rows_are_for_predictions(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parmlp.engines.cuda.network._PREDICTION_ROWS", 2)  # in parts
    array = device_array(Interface(device, X), "X", device)
    model = MLPClassifier(**PARAMETERS).fit(X, Y)
    network = model._session._network
    picked = Rows(PickedRows(array, np.array([3, 1, 2])))
    expected = network.predict(None, Rows(X[[3, 1, 2]]))
    np.testing.assert_array_equal(network.predict(None, picked), expected)
    with pytest.raises(ValueError, match="takes no PickedRows"):
        network.train_epoch(None, picked, Y[:3].astype(np.int32), None, None, 2, 0.1, "two-phase")


def test_predictions_in_parts(device: Device, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parmlp.engines.cuda.network._PREDICTION_ROWS", 7)
    model = MLPClassifier(**PARAMETERS, early_stopping=True, validation_fraction=0.2)
    scores = model.fit(make(device, X), Y).validation_scores_
    assert scores == model.fit(X, Y).validation_scores_
    np.testing.assert_array_equal(model.predict_proba(make(device, X)), model.predict_proba(X))


def test_streams_are_the_drivers(device: Device) -> None:
    """What is passed to a producer as a number must not be one of the default streams'."""
    assert Stream(device.driver).handle.value > 2


@pytest.mark.parametrize("early_stopping", [False, True])
def test_fit_many(device: Device, make: Make, early_stopping: bool) -> None:
    settings = [{"alpha": alpha, "random_state": seed} for seed, alpha in enumerate((0.0, 0.1, 1))]
    kind = {**PARAMETERS, "early_stopping": early_stopping, "validation_fraction": 0.2}
    array = make(device, X)
    models = fit_many([MLPClassifier(**{**kind, **s}) for s in settings], array, Y)
    if isinstance(array, Tensor):
        assert (array.exports, array.deleted) == (1, 1)
    for model, own in zip(models, settings, strict=True):
        assert weights(model) == weights(MLPClassifier(**{**kind, **own}).fit(X, Y))
