"""parmlp: parallel training of multilayer perceptrons behind the scikit-learn interface.

Names are imported on first use, so that ``import parmlp`` and ``parmlp --help`` stay instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from parmlp import threadpool as _threadpool  # noqa: F401  so that threadpoolctl sees parmlp

if TYPE_CHECKING:
    from parmlp import datasets
    from parmlp.estimators import EpochReport, MLPClassifier, MLPRegressor
    from parmlp.model_files import load_model, save_model
    from parmlp.profiling import StepProfile, profile_steps

    __version__: str

__all__ = [
    "EpochReport",
    "MLPClassifier",
    "MLPRegressor",
    "StepProfile",
    "__version__",
    "datasets",
    "load_model",
    "profile_steps",
    "save_model",
]

_HOME = {
    "EpochReport": "parmlp.estimators",
    "MLPClassifier": "parmlp.estimators",
    "MLPRegressor": "parmlp.estimators",
    "StepProfile": "parmlp.profiling",
    "load_model": "parmlp.model_files",
    "profile_steps": "parmlp.profiling",
    "save_model": "parmlp.model_files",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name == "datasets":
        value = import_module("parmlp.datasets")
    elif name == "__version__":
        from importlib.metadata import version

        value = version("parmlp")
    else:
        raise AttributeError(f"module 'parmlp' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
