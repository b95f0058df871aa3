"""What the competitors of one table row all train: network, minibatch, data and configuration."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from parmlp.study.records import Configuration, flops_per_sample

#: The paper's: sigmoid everywhere, mean squared error, plain sgd, no L2.
FAITHFUL = Configuration("faithful", "sigmoid", "sigmoid", "mse", "sgd", 0.5, 0.0)
#: scikit-learn's defaults, which most users run.
DEFAULT = Configuration("default", "relu", "softmax", "log_loss", "adam", 1e-3, 1e-4)
#: The paper's, but with operands in bfloat16.
BF16 = replace(FAITHFUL, name="faithful-bf16", precision="bf16")

CONFIGURATIONS = {c.name: c for c in (FAITHFUL, DEFAULT, BF16)}

#: Adam's constants are scikit-learn's defaults everywhere.
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Workload:
    """A network to train, without saying by whom and with how many threads.

    ``rows`` is the number of training rows, None for all of the data set's own.
    """

    layers: tuple[int, ...]
    batch: int
    data: str
    configuration: Configuration
    rows: int | None
    seed: int = 0

    @property
    def flops_per_sample(self) -> int:
        """See :func:`parmlp.study.records.flops_per_sample`."""
        return flops_per_sample(self.layers)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can say it."""
        return asdict(self)

    @staticmethod
    def from_dict(document: dict[str, Any]) -> Workload:
        """The inverse of ``to_dict``."""
        return Workload(
            **{
                **document,
                "layers": tuple(document["layers"]),
                "configuration": Configuration(**document["configuration"]),
            }
        )
