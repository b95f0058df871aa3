"""JAX on a GPU: a jitted epoch that scans over minibatches, products in the precision asked for.

What JAX takes for float32 on a GPU is TF32 unless told otherwise, so it is told.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from parmlp.study.measure.rivals.base import Array, Work, missing
from parmlp.study.measure.rivals.jax_scan import JaxScan
from parmlp.study.measure.workload import Workload

#: What jax.default_matmul_precision calls them; bf16's operands are cast by hand.
PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32", "bf16": "highest"}


def bf16_matmul(jax: Any) -> Any:
    """Return a product whose operands are rounded to bfloat16 and summed in float32.

    So are those of its gradients' products: left to itself JAX would multiply a float32 cotangent.
    """
    jnp = jax.numpy

    def product(a: Any, b: Any) -> Any:
        return jnp.matmul(
            a.astype(jnp.bfloat16), b.astype(jnp.bfloat16), preferred_element_type=jnp.float32
        )

    def forward(a: Any, b: Any) -> Any:
        return product(a, b), (a, b)

    def backward(operands: Any, d: Any) -> Any:
        a, b = operands
        return product(d, b.T), product(a.T, d)

    matmul = jax.custom_vjp(product)
    matmul.defvjp(forward, backward)
    return matmul


def no_jax_on(platform: str) -> str | None:
    """The reason where JAX does not run on "gpu" or "cpu"; None where it does."""
    import jax

    try:
        found = jax.default_backend()
    except RuntimeError as error:  # JAX_PLATFORMS names one that is not there
        return f"jax finds no {platform}: {error}"
    return None if found == platform else f"jax has no {platform}, only {found}"


class Jax(JaxScan):
    """A scanned epoch on one platform.

    Parameters
    ----------
    platform : {"gpu", "cpu"}, default="gpu"
    """

    def __init__(self, platform: str = "gpu") -> None:
        self._platform = platform

    def available(self, workload: Workload) -> str | None:
        """JAX, with the platform."""
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        reason = missing("jax")
        if reason:
            return reason
        return no_jax_on(self._platform)

    def setup(self, work: Work) -> None:
        """Compile at the first epoch."""
        import jax

        self._precision = work.configuration.precision
        self._bf16_matmul = bf16_matmul(jax)
        super().setup(work)

    def matmul(self, a: Any, b: Any) -> Any:
        """The product of a layer."""
        return self._bf16_matmul(a, b) if self._precision == "bf16" else a @ b

    def _in_precision(self) -> Any:
        return self.jax.default_matmul_precision(PRECISIONS[self._precision])

    def product_error(self) -> float:
        """Root mean square of the errors of a product as this setting computes it, relative."""
        rng = np.random.default_rng(1)
        a, b = (rng.standard_normal((512, 512)).astype(np.float32) for _ in range(2))
        exact = a.astype(np.float64) @ b.astype(np.float64)
        with self._in_precision():
            found = np.asarray(self.jax.jit(self.matmul)(a, b))
        return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))

    def run_epoch(self, order: Array) -> None:
        """One pass over ``order``."""
        with self._in_precision():
            super().run_epoch(order)
