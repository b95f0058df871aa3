"""The words that the command line's options accept.

They repeat what the estimators accept, because asking the estimators would import numpy and
scikit-learn before `parmlp --help` could answer. `tests/cli/test_choices.py` holds the two
together.
"""

from enum import StrEnum


class Activation(StrEnum):
    """Hidden activations; `logistic` is scikit-learn's name for `sigmoid`."""

    IDENTITY = "identity"
    SIGMOID = "sigmoid"
    LOGISTIC = "logistic"
    TANH = "tanh"
    RELU = "relu"
    LEAKY_RELU = "leaky_relu"
    ELU = "elu"
    GELU = "gelu"
    GELU_TANH = "gelu_tanh"
    SILU = "silu"


class OutActivation(StrEnum):
    """Output activations; `auto` follows the loss."""

    AUTO = "auto"
    IDENTITY = "identity"
    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"
    EXP = "exp"


class Loss(StrEnum):
    """Losses: the first two for classification, the last three for regression."""

    LOG_LOSS = "log_loss"
    MSE = "mse"
    SQUARED_ERROR = "squared_error"
    POISSON = "poisson"


class Solver(StrEnum):
    """Optimizers."""

    SGD = "sgd"
    ADAM = "adam"
    ADAMW = "adamw"


class WeightInit(StrEnum):
    """Initial weights."""

    GLOROT_UNIFORM = "glorot_uniform"
    SCIKIT_LEARN = "scikit-learn"
    HE = "he"
    SMALL_RANDOM = "small_random"


class Engine(StrEnum):
    """Engines; `auto` takes the CPU engine that suits the work."""

    AUTO = "auto"
    SERIAL = "serial"
    THREADS = "threads"
    OPENMP = "openmp"
    CUDA = "cuda"


class Schedule(StrEnum):
    """How a minibatch step is split over the workers."""

    TWO_PHASE = "two-phase"
    PARTIAL_GRADIENTS = "partial-gradients"
    FORK_JOIN = "fork-join"


class Precision(StrEnum):
    """Precision of the products in training."""

    FULL = "full"
    TF32 = "tf32"
    BF16 = "bf16"


class Task(StrEnum):
    """What a table's target column is."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


class Preset(StrEnum):
    """How much of the study is run."""

    QUICK = "quick"
    PAPER = "paper"
    FULL = "full"
