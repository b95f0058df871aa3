"""Plain float64 NumPy backpropagation, written from the equations, to compare everything with.

Slow and readable on purpose: one function an equation, no blocking, no in-place tricks, and no
code shared with the package. Other tests may import it as ``from reference import Network``.
"""

from .activations import HIDDEN_ACTIVATIONS, OUTPUT_ACTIVATIONS
from .bf16 import round_to_bf16
from .losses import LEGAL_PAIRS, LOSSES
from .network import EpochTrace, Network
from .solvers import SGD, SOLVERS, Adam, AdamW

__all__ = [
    "HIDDEN_ACTIVATIONS",
    "LEGAL_PAIRS",
    "LOSSES",
    "OUTPUT_ACTIVATIONS",
    "SGD",
    "SOLVERS",
    "Adam",
    "AdamW",
    "EpochTrace",
    "Network",
    "round_to_bf16",
]
