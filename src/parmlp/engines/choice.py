"""From ``engine=`` to a team and a network: the CPU engines, or a GPU."""

import math
from collections.abc import Sequence

from parmlp import _core
from parmlp.engines import cpu
from parmlp.engines.cpu import EngineStatus
from parmlp.engines.surface import Network, Team

#: Engines by name, as ``engine=`` takes them besides "auto".
ENGINES = (*cpu.ENGINES, "cuda")

# engine="auto" takes the GPU for steps of at least this much arithmetic. Never, until somebody has
# measured from where on a GPU is faster than the CPU beside it (docs/decisions/0024).
_GPU_PAYS_FROM_FLOPS = math.inf


def engine_statuses() -> list[EngineStatus]:
    """Return the status of every engine, in the order of ``ENGINES``."""
    from parmlp.engines.cuda.team import status

    return [*cpu.engine_statuses(), status()]


def runs_on_gpu(engine: str, layer_units: Sequence[int], rows: int) -> bool:
    """Whether ``engine=`` means the GPU for a network and its minibatches' rows."""
    if engine == "auto":
        return cpu.flops_per_step(layer_units, rows) >= _GPU_PAYS_FROM_FLOPS
    return engine == "cuda"


def make_team(
    engine: str,
    n_threads: int | None,
    layer_units: Sequence[int],
    rows: int,
    *,
    warn: bool = True,
) -> Team:
    """Return who trains a network, or predicts with it.

    Parameters
    ----------
    engine : {"auto", "serial", "threads", "openmp", "cuda"}
        "auto" takes one of the CPU engines.
    n_threads, layer_units, rows, warn
        As in :func:`parmlp.engines.cpu.make_team`; a GPU has no threads to choose.

    Raises
    ------
    ValueError
        For an unknown engine or an ``n_threads`` that it cannot have.
    EngineUnavailableError
        When the engine cannot be used on this machine.
    """
    if runs_on_gpu(engine, layer_units, rows):
        if n_threads is not None:
            raise ValueError(
                f"engine='cuda' runs on the GPU, but n_threads={n_threads}: leave n_threads at "
                "None, or use engine='threads'."
            )
        from parmlp.engines.cuda.team import Team as GpuTeam

        return GpuTeam()
    if engine not in ("auto", *ENGINES):
        raise ValueError(f"unknown engine {engine!r}: parmlp has {', '.join(ENGINES)} (or 'auto').")
    return cpu.make_team(engine, n_threads, layer_units, rows, warn=warn)


def make_network(
    team: Team,
    *,
    layer_units: Sequence[int],
    hidden_activation: str,
    out_activation: str,
    loss: str,
    dtype: str,
    leaky_relu_slope: float,
    precision: str,
) -> Network:
    """Return a network for a team; its weights are still to be set.

    Parameters
    ----------
    team : Team
    layer_units, hidden_activation, out_activation, loss, dtype, leaky_relu_slope, precision
        As ``_core.Network`` takes them.

    Raises
    ------
    ValueError
        For a precision that the team's engine does not have.
    """
    if team.engine == "cuda":
        from parmlp.engines.cuda.network import Network as GpuNetwork
        from parmlp.engines.cuda.programs import Model
        from parmlp.engines.cuda.team import Team as GpuTeam

        assert isinstance(team, GpuTeam)
        model = Model(
            tuple(layer_units),
            hidden_activation,
            out_activation,
            loss,
            dtype,
            leaky_relu_slope,
            precision,
        )
        return GpuNetwork(team.device, model)
    if precision == "tf32":
        raise ValueError(
            "precision='tf32' is for tensor cores: use engine='cuda', or precision='full' or "
            "'bf16'."
        )
    return _core.Network(
        list(layer_units),
        hidden_activation,
        out_activation,
        loss,
        dtype,
        leaky_relu_slope,
        precision,
    )
