"""What a training step asks of a GPU, rung by rung: launches, barriers, and bytes of each memory.

The counts follow the kernels' own tiling, so that a figure can be set against its floors. Tests
hold them against what the simulated device counts while it runs the kernels.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

from parmlp.engines.cuda.programs import (
    SUM_THREADS,
    Fused,
    LayerwiseProgram,
    Model,
    Naive,
    Persistent,
    Program,
    TensorCores,
    Tiled,
    moments_of,
)

_ID = 4  # bytes of a row's id and of a label
_DOUBLE = 8
_CONSTANTS = 2  # numbers of StepConstants that a solver reads; adamw reads a third
_TILE = 32  # kTile of rungs 2 and 3
_DEPTH = 32  # kDepth of rung 5
_ROW_GROUP = 4  # kGroup of rung 3, where a block has so many rows
_SIDE = 4  # kSide of rung 4


@dataclass(frozen=True)
class Cost:
    """What some launches ask for. Sums and multiples of costs are costs.

    Attributes
    ----------
    launches : float
    barriers, cluster_barriers : float
        Those that follow one another on the way through a launch: of one block, and of one cluster.
        Blocks beyond what the device runs at once come later, with barriers of their own.
    block_barriers : float
        Barriers of all blocks together.
    loaded_bytes, stored_bytes : float
        Of global memory, as threads ask for them: caches serve most of the repeated ones.
    shared_bytes, remote_bytes : float
        That threads load from their own block's shared memory, and from other blocks' of the
        cluster.
    once_bytes : float
        Of global memory if each launch read its operands and wrote its results once: what goes to
        and from the device's memory where caches keep nothing from launch to launch.
    fresh_bytes : float
        Of global memory that no cache can have: the step's rows with their ids and targets, and
        their losses.
    """

    launches: float = 0.0
    barriers: float = 0.0
    cluster_barriers: float = 0.0
    block_barriers: float = 0.0
    loaded_bytes: float = 0.0
    stored_bytes: float = 0.0
    shared_bytes: float = 0.0
    remote_bytes: float = 0.0
    once_bytes: float = 0.0
    fresh_bytes: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __mul__(self, times: float) -> "Cost":
        return Cost(*(times * getattr(self, f.name) for f in fields(self)))


def count_epoch(program: Program, rows: int, batch_size: int, *, has_penalty: bool) -> Cost:
    """Return what an epoch asks for: its steps, and what it takes once.

    Parameters
    ----------
    program : Program
        The rung that trains, as it was set up.
    rows, batch_size : int
        Of the epoch and of a minibatch; the last one may be short. Targets are class indices, and
        rows have no weights of their own.
    has_penalty : bool
        Whether the loss has an L2 term.
    """
    whole, short = divmod(rows, batch_size)
    total = count_step(program, batch_size, has_penalty=has_penalty) * whole
    if short:
        total += count_step(program, short, has_penalty=has_penalty)
    steps = whole + bool(short)
    if isinstance(program, Persistent):
        total += _persistent_once(program) * -(-steps // program.steps_at_once)
        # each thread of network_losses reads four addresses, two numbers and alpha of its network
        asked = 4 * 8 + 2 * 4 + program.model.itemsize
        total += Cost(loaded_bytes=steps * SUM_THREADS * asked)
    shares = program.penalty_shares if has_penalty else 0
    read = _DOUBLE * (rows + steps * shares) + program.model.itemsize * steps
    written = _DOUBLE * steps
    return total + Cost(
        launches=1,
        barriers=1,
        block_barriers=steps,
        loaded_bytes=read,
        stored_bytes=written,
        shared_bytes=steps * _DOUBLE * SUM_THREADS // 32,
        once_bytes=read + written,
    )


def count_step(program: Program, rows: int, *, has_penalty: bool) -> Cost:
    """Return what one step asks for; of rung 4, whose one launch has all steps, its share.

    Parameters are those of :func:`count_epoch`, ``rows`` being the minibatch's.
    """
    step = Cost(fresh_bytes=fresh_bytes(program.model, rows))
    if isinstance(program, Persistent):
        return step + _persistent(program, rows, has_penalty)
    if isinstance(program, Fused):
        return step + _fused(program, rows, has_penalty)
    if isinstance(program, LayerwiseProgram):
        return step + _layerwise(program, rows, has_penalty)
    raise TypeError(f"no account of a {type(program).__name__} has been written")


def fresh_bytes(model: Model, rows: int) -> float:
    """Return the bytes that a step of any trainer takes from the device's memory.

    A row's features, its id and its label come in, and its loss goes out.
    """
    return rows * (model.layer_units[0] * model.itemsize + 2 * _ID + _DOUBLE)


def _tiles(n: int, side: int) -> int:
    return -(-n // side)


def _moments(program: Program) -> int:
    return moments_of(program.solver)


def _launch(blocks: int, barriers: int, **bytes_of: float) -> Cost:
    return Cost(launches=1, barriers=barriers, block_barriers=blocks * barriers, **bytes_of)


def _arena_bytes(program: Program, parameters: int) -> float:
    """Bytes of some weights and their moments, which take_step reads and writes."""
    return parameters * (1 + _moments(program)) * program.model.itemsize


# ------------------------------------------------------------------ a launch an operation and layer


@dataclass(frozen=True)
class _Product:
    """A product of matrices, m x k by k x n: how often each operand is loaded, and from where."""

    m: int
    n: int
    k: int
    blocks: int
    barriers: int
    left_loads: float  # elements, in all
    right_loads: float
    shared_bytes: float
    id_loads: float  # of row ids, where an operand is the rows of x


def _naive_product(m: int, n: int, k: int, model: Model, precision: str) -> _Product:
    """Rung 1: each of m n threads loads k of both operands, and the row's id once."""
    del model, precision
    return _Product(m, n, k, m * _tiles(n, Naive.threads), 0, m * n * k, m * n * k, 0, m * n)


def _tiled_product(m: int, n: int, k: int, model: Model, precision: str) -> _Product:
    """Rung 2: each operand once a tile of the other's side, with an id for each element of x.

    Every thread of a block then reads 2 x 32 elements of each pair of tiles.
    """
    del precision
    rows, columns, depth = _tiles(m, _TILE), _tiles(n, _TILE), _tiles(k, _TILE)
    return _Product(
        m,
        n,
        k,
        rows * columns,
        2 * depth,
        m * k * columns,
        k * n * rows,
        rows * columns * depth * Tiled.threads * 2 * _TILE * model.itemsize,
        m * k * columns,
    )


def _large_tile_product(side: int) -> Callable[[int, int, int, Model, str], _Product]:
    """Rung 5: likewise with tiles of 64 or 128, by copies of four elements.

    Fragments: for each ``depth`` of k a thread reads, of side / 32 groups of 16 rows and as many of
    8 columns, 2 and 2 elements where products are float32, 4 and 2 of tf32, 8 and 4 of bf16.
    """

    def product(m: int, n: int, k: int, model: Model, precision: str) -> _Product:
        rows, columns, stages = _tiles(m, side), _tiles(n, side), _tiles(k, _DEPTH)
        depth, of_row, of_column = {"full": (1, 2, 2), "tf32": (8, 4, 2), "bf16": (16, 8, 4)}[
            precision
        ]
        reads = side // 32 * (of_row + of_column) * _DEPTH // depth
        return _Product(
            m,
            n,
            k,
            rows * columns,
            stages,
            m * k * columns,
            k * n * rows,
            rows * columns * stages * TensorCores.threads * reads * model.itemsize,
            m * stages * _DEPTH // 4 * columns,
        )

    return product


def _layerwise(program: LayerwiseProgram, rows: int, has_penalty: bool) -> Cost:
    """Forward of each layer, output rows, backward of each but the first, update of each."""
    model = program.model
    item = model.itemsize
    product: Callable[[int, int, int, Model, str], _Product]
    if isinstance(program, TensorCores):
        product = _large_tile_product(program.tile[0])
    else:
        product = _naive_product if isinstance(program, Naive) else _tiled_product
    total = Cost()
    if has_penalty:
        weights = sum(n_in * n_out for n_in, n_out in _shapes(model)) * item
        shares = program.penalty_shares
        total += _launch(
            shares,
            1,
            loaded_bytes=weights,
            stored_bytes=_DOUBLE * shares,
            shared_bytes=_DOUBLE * shares * SUM_THREADS // 32,
            once_bytes=weights + _DOUBLE * shares,
        )
    for layer, (n_in, n_out) in enumerate(_shapes(model)):
        hidden = layer < model.layers - 1
        results = 1 + hidden
        if isinstance(program, TensorCores) and hidden and not model.keeps_z:
            results = 1
        p = product(rows, n_out, n_in, model, model.precision)
        total += _launch(
            p.blocks,
            p.barriers,
            loaded_bytes=item * (p.left_loads + p.right_loads + rows * n_out)
            + (0 if layer else _ID * p.id_loads),
            stored_bytes=item * results * rows * n_out,
            shared_bytes=p.shared_bytes,
            once_bytes=item * (rows * n_in + (n_in + 1) * n_out + results * rows * n_out)
            + (0 if layer else _ID * rows),
        )
    total += _output_rows(model, rows, program.lanes)
    for n_in, n_out in _shapes(model)[1:]:
        p = product(rows, n_in, n_out, model, model.precision)
        around = rows * n_in  # a, or z where f' is written in that
        total += _launch(
            p.blocks,
            p.barriers,
            loaded_bytes=item * (p.left_loads + p.right_loads + around),
            stored_bytes=item * rows * n_in,
            shared_bytes=p.shared_bytes,
            once_bytes=item * (rows * n_out + n_in * n_out + around + rows * n_in),
        )
    for layer in range(model.layers):
        total += _update(program, product, rows, layer)
    return total


def _update(
    program: LayerwiseProgram,
    product: Callable[[int, int, int, Model, str], _Product],
    rows: int,
    layer: int,
) -> Cost:
    model = program.model
    item = model.itemsize
    n_in, n_out = model.shape(layer)
    p = product(n_in + program.bias_rows, n_out, rows, model, model.precision)
    ids = 0.0 if layer else _ID * p.id_loads
    left, right, shared = p.left_loads, p.right_loads, p.shared_bytes
    if isinstance(program, Naive):
        left -= n_out * rows  # the bias's thread reads deltas alone
        ids *= rows  # an id for each row that a thread passes
    elif isinstance(program, TensorCores):
        # copies lie along the features: an id for each four of them; and the bias's sums of deltas
        columns = _tiles(n_out, program.tile[1])
        width = _tiles(n_in, program.tile[0]) * program.tile[0] // 4
        ids = 0.0 if layer else _ID * rows * width * columns
        shared += columns * program.tile[1] * _tiles(rows, _DEPTH) * _DEPTH * item
    else:
        left -= rows * _tiles(n_out, _TILE)
        ids -= 0.0 if layer else _ID * rows * _tiles(n_out, _TILE)
    arena = _arena_bytes(program, (n_in + 1) * n_out)
    readers = (n_in + 1) * n_out
    if isinstance(program, TensorCores):
        readers = p.blocks * program.threads  # a thread reads them once for all of its weights
    return _launch(
        p.blocks,
        p.barriers,
        loaded_bytes=item * (left + right + _CONSTANTS * readers) + ids + arena,
        stored_bytes=arena,
        shared_bytes=shared,
        once_bytes=item * rows * (n_in + n_out) + (0 if layer else _ID * rows) + 2 * arena,
    )


def _shapes(model: Model) -> list[tuple[int, int]]:
    return [model.shape(layer) for layer in range(model.layers)]


def _targets(model: Model, rows: int, lanes: int) -> float:
    """Bytes that are read for rows' ids, by every thread of a row, and labels, for each output."""
    return _ID * rows * (lanes + model.layer_units[-1])


def _output_rows(model: Model, rows: int, lanes: int) -> Cost:
    """z is read, its exponentials are written and read, then activations, then deltas."""
    outputs = rows * model.layer_units[-1] * model.itemsize
    softmax = model.out_activation == "softmax"
    return _launch(
        1,
        0,
        loaded_bytes=(4 if softmax else 2) * outputs + _targets(model, rows, lanes),
        stored_bytes=(3 if softmax else 2) * outputs + _DOUBLE * rows,
        once_bytes=3 * outputs + (2 * _ID + _DOUBLE) * rows,
    )


# ------------------------------------------------------------------------------ two launches a step


def _fused(program: Fused, rows: int, has_penalty: bool) -> Cost:
    """Blocks of some rows pass all layers; then blocks of 32 x 32 weights sum their gradients."""
    model = program.model
    item, shapes = model.itemsize, _shapes(model)
    tile = program.row_tile(program.device, model)
    blocks, groups = _tiles(rows, tile), tile // min(tile, _ROW_GROUP)
    weights = sum(a * b for a, b in shapes)
    back = weights - shapes[0][0] * shapes[0][1]
    units = sum(b for _, b in shapes)
    hidden, features, outputs = units - shapes[-1][1], shapes[0][0], shapes[-1][1]
    first = _launch(
        blocks,
        1 + len(shapes) + len(shapes) - 1,
        # a thread reads a weight once for its group of rows, a bias once a row
        loaded_bytes=blocks * item * (groups * (weights + back) + tile * units)
        + rows * features * (item + _ID)
        + _targets(model, rows, 32),
        stored_bytes=item * rows * (hidden + units) + _DOUBLE * rows,
        # a product reads its rows' numbers for every weight; an output row reads its own four times
        shared_bytes=blocks * tile * item * (weights + back + hidden)
        + item * rows * (4 + 2) * outputs,
        once_bytes=rows * (features * item + 2 * _ID + _DOUBLE)
        + item * (model.parameters + rows * (hidden + units)),
    )
    reads = 0.0
    shared = 0.0
    for layer, (n_in, n_out) in enumerate(shapes):
        down, across = _tiles(n_in + 1, _TILE), _tiles(n_out, _TILE)
        ids = 0 if layer else _ID
        reads += rows * n_in * across * (item + ids) + rows * n_out * down * item
        # a delta and 4 activations of a thread for each row
        shared += down * across * _tiles(rows, _TILE) * _TILE * program.threads * 5 * item
    tiles = program.penalty_shares
    arena = _arena_bytes(program, model.parameters)
    penalty = _DOUBLE * tiles if has_penalty else 0
    second = _launch(
        tiles,
        2 * _tiles(rows, _TILE) + has_penalty,
        loaded_bytes=reads + arena + item * _CONSTANTS * model.parameters,
        stored_bytes=arena + penalty,
        shared_bytes=shared + penalty * program.threads // 32,
        once_bytes=rows * (features * item + _ID)
        + item * rows * (hidden + units)
        + 2 * arena
        + penalty,
    )
    return first + second


# --------------------------------------------------------------------------- an epoch in one launch


def _persistent_once(program: Persistent) -> Cost:
    """What a launch takes: weights and moments come into shared memory and go back.

    Biases come into every block. Each thread reads what its network is to do.
    """
    model, blocks = program.model, program.cluster_blocks
    biases = sum(b for _, b in _shapes(model))
    stored = _arena_bytes(program, model.parameters)
    loaded = stored + _arena_bytes(program, (blocks - 1) * biases)
    loaded += program.threads * blocks * program.network_bytes
    one = blocks == 1
    return Cost(
        launches=1,
        barriers=float(one),
        cluster_barriers=float(not one),
        block_barriers=float(one),
        loaded_bytes=loaded,
        stored_bytes=stored,
        shared_bytes=stored,
        once_bytes=2 * stored,
    )


def _persistent(program: Persistent, rows: int, has_penalty: bool) -> Cost:
    """Rows come in, losses go out; all else is in the cluster's shared memory.

    Exchanges: a block adds the parts that all blocks have of its next inputs' sums, of all outputs
    of its share of rows; then it collects all rows' deltas, and before each further layer the other
    blocks' part of its deltas.
    """
    model, blocks, batch = program.model, program.cluster_blocks, program.max_rows
    item, shapes = model.itemsize, _shapes(model)
    layers, outputs = len(shapes), shapes[-1][1]
    threads = program.threads
    slices = [_tiles(n_in, blocks) for n_in, _ in shapes]

    shared = 0.0  # of one block
    for layer, ((_, n_out), own) in enumerate(zip(shapes, slices, strict=True)):
        shared += _reads_of_product(program, batch, n_out, own)
        shared += _reads_of_product(program, own + 1, n_out, batch)
        shared -= _ones_of_product(program, n_out, batch)
        shared += (own + 1) * n_out * (1 + _moments(program))
        if layer:
            shared += _reads_of_product(program, batch, own, n_out)
            shared += batch * own
    exchanged = batch * (sum(n for _, n in shapes[:-1]) + outputs) * blocks  # parts of all z
    exchanged += blocks * batch * (outputs + sum(n for n, _ in shapes[1:]))  # deltas, to each block
    biases = batch * sum(n for _, n in shapes)
    output_rows = rows * outputs * (4 if model.out_activation == "softmax" else 2)
    local = exchanged / blocks

    at_once = 3 * layers - 1, 2 * layers  # barriers of a block, and of the cluster
    barriers, cluster_barriers = (at_once[0], at_once[1]) if blocks > 1 else (sum(at_once), 0)
    constants = 3 * item * threads * blocks  # StepConstants whole
    ids = _ID * rows * model.layer_units[0] + _targets(model, rows, 32)
    losses = _DOUBLE * (rows + (program.penalty_shares if has_penalty else 0))
    return Cost(
        barriers=barriers,
        cluster_barriers=cluster_barriers,
        block_barriers=barriers * blocks,
        loaded_bytes=item * rows * model.layer_units[0] + ids + constants,
        stored_bytes=losses,
        shared_bytes=item * (shared * blocks + local + biases + output_rows),
        remote_bytes=item * (exchanged - local),
        once_bytes=fresh_bytes(model, rows) + losses - _DOUBLE * rows,
    )


def _reads_of_product(program: Persistent, m: int, n: int, k: int) -> float:
    """Numbers that a block's threads read for an m x k by k x n product.

    In float32 a thread makes 4 x 4 results and reads 4 and 4 numbers for each k. On tensor cores a
    warp makes 16 x 32 and reads each number of its operands once, tf32 as bf16.
    """
    if program.model.precision == "full":
        return _tiles(m, _SIDE) * _tiles(n, _SIDE) * k * 2 * _SIDE
    return m * k * _tiles(n, 32) + k * n * _tiles(m, 16)


def _ones_of_product(program: Persistent, n: int, k: int) -> float:
    """Numbers of the left operand that are the bias's 1 and are not read."""
    return k * _tiles(n, _SIDE if program.model.precision == "full" else 32)
