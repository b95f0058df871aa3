"""Everything used of scikit-learn that is not public, in one place (scikit-learn 1.7 to 1.9)."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.multiclass import _check_partial_fit_first_call
from sklearn.utils.validation import _check_sample_weight

__all__ = [
    "Interval",
    "Options",
    "StrOptions",
    "check_partial_fit_first_call",
    "check_sample_weight",
    "validates_parameters",
]

_Method = TypeVar("_Method", bound=Callable[..., Any])


def validates_parameters(method: _Method) -> _Method:
    """Check the constructor's parameters against ``_parameter_constraints`` before ``method``."""
    return cast(_Method, _fit_context(prefer_skip_nested_validation=True)(method))


def check_sample_weight(sample_weight: Any, X: Any) -> Any:
    """Return sample weights as a float array of shape (n_samples,); a scalar is repeated."""
    return _check_sample_weight(sample_weight, X)


def check_partial_fit_first_call(estimator: Any, classes: Any) -> bool:
    """Whether ``classes`` must define the classes now; sets ``classes_`` if so."""
    return bool(_check_partial_fit_first_call(estimator, classes))
