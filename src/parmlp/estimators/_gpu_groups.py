"""Which of many networks train side by side on the GPU, and which one after another."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from parmlp.engines.cuda.programs import Model, solver_functor
from parmlp.engines.cuda.side_by_side import Kind, Room, meet, room_side_by_side
from parmlp.engines.cuda.team import Team as GpuTeam

if TYPE_CHECKING:
    from parmlp.estimators._multilayer_perceptron import BaseMultilayerPerceptron, CheckedFit


def gpu_groups(
    models: Sequence["BaseMultilayerPerceptron"],
    fits: Sequence["CheckedFit"],
    indices: Sequence[int],
) -> list[list[tuple[int, GpuTeam]]]:
    """Split the estimators that train on the GPU into groups, to be trained one after another.

    Networks that share a compiled program, and so differ in numbers alone, make one group, if they
    can be trained side by side; of more than the memory takes, several equal ones. Each of the
    others is a group of its own. X is copied to the device here, where it fits.

    Parameters
    ----------
    models, fits : sequence of all estimators and of what each is to train
    indices : sequence of int
        Those of the GPU.

    Returns
    -------
    list of list of (int, Team)
        Indices, each with the team to train that estimator with.
    """
    members_of: dict[Kind, list[int]] = {}
    for i in indices:
        members_of.setdefault(_kind(models[i], fits[i]), []).append(i)
    groups: list[list[tuple[int, GpuTeam]]] = []
    for kind, members in members_of.items():
        room = Room()
        if len(members) > 1:
            team = GpuTeam()
            rows = fits[members[0]].rows.plain(team)
            held_out = max(_rows_held_out(models[i], fits[i]) for i in members)
            room = room_side_by_side(team.device, kind, rows, held_out)
        n_groups = math.ceil(len(members) / room.most)
        size = math.ceil(len(members) / n_groups)
        for first in range(0, len(members), size):
            group = members[first : first + size]
            groups.append(list(zip(group, _teams(len(group), room.at_once), strict=True)))
    return groups


def _teams(n_networks: int, at_once: int) -> list[GpuTeam]:
    if n_networks == 1:
        return [GpuTeam()]
    return [GpuTeam(place) for place in meet(GpuTeam().device, n_networks, at_once)]


def _kind(model: "BaseMultilayerPerceptron", fit: "CheckedFit") -> Kind:
    return Kind(
        Model(**model._kind_to_train(fit).described()),
        solver_functor(model.solver, float(model.momentum), bool(model.nesterovs_momentum)),
        model._rows_per_batch(fit.rows.X.shape[0] - _rows_held_out(model, fit)),
    )


def _rows_held_out(model: "BaseMultilayerPerceptron", fit: "CheckedFit") -> int:
    # as train_test_split rounds it
    n_rows = fit.rows.X.shape[0]
    return math.ceil(model.validation_fraction * n_rows) if model.early_stopping else 0
