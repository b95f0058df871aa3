"""`parmlp train`: fit a network to a data set, say how it went, save it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parmlp.cli.checks import (
    below_one,
    check_output_path,
    count,
    counts,
    fraction,
    not_negative,
    positive,
    refuse_without_effect,
    seed_value,
    thread_count,
)
from parmlp.cli.choices import (
    Activation,
    Engine,
    Loss,
    OutActivation,
    Precision,
    Schedule,
    Solver,
    Task,
    WeightInit,
)
from parmlp.cli.interrupts import OneInterrupt
from parmlp.cli.output import EXIT_INTERRUPTED, is_terminal, print_json

if TYPE_CHECKING:
    from parmlp import MLPClassifier, MLPRegressor

# Where scikit-learn's default of 0.001 would leave plain sgd almost where it started.
_DEFAULT_LR = {Solver.SGD: 0.1, Solver.ADAM: 0.001, Solver.ADAMW: 0.001}


def train(
    dataset: Annotated[
        str,
        typer.Argument(
            help="digits, mnist5k, mnist, kddcup99, or the path of a CSV, Parquet or npz "
            "(arrays X, y) file."
        ),
    ] = "digits",
    *,
    hidden: Annotated[
        list[int] | None,
        typer.Option(
            "--hidden",
            callback=counts,
            metavar="UNITS",
            show_default="100",
            help="Units of a hidden layer; repeat it for each layer.",
        ),
    ] = None,
    activation: Annotated[Activation, typer.Option(help="Hidden activation.")] = Activation.RELU,
    leaky_relu_slope: Annotated[
        float | None,
        typer.Option(
            help="leaky_relu: the slope below 0.", callback=not_negative, show_default="0.01"
        ),
    ] = None,
    out_activation: Annotated[
        OutActivation,
        typer.Option(
            help="Output activation; auto follows the loss: softmax or sigmoid for log_loss, "
            "sigmoid for mse, identity for squared_error, exp for poisson."
        ),
    ] = OutActivation.AUTO,
    weight_init: Annotated[
        WeightInit,
        typer.Option(help="Initial weights; biases are zero but for scikit-learn's."),
    ] = WeightInit.GLOROT_UNIFORM,
    loss: Annotated[
        Loss | None,
        typer.Option(
            help="log_loss or mse (the paper's) for classification, squared_error or poisson for "
            "regression.",
            show_default="log_loss or squared_error",
        ),
    ] = None,
    solver: Annotated[
        Solver,
        typer.Option(help="Optimizer; sgd is plain unless --momentum is given."),
    ] = Solver.ADAM,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Learning rate.",
            show_default="0.1 for sgd, 0.001 for adam and adamw",
            callback=positive,
        ),
    ] = None,
    momentum: Annotated[
        float | None,
        typer.Option(
            help="sgd: momentum, from 0 to below 1.", callback=below_one, show_default="0"
        ),
    ] = None,
    nesterov: Annotated[
        bool,
        typer.Option("--nesterov", help="sgd: Nesterov's momentum."),
    ] = False,
    alpha: Annotated[
        float,
        typer.Option(help="Strength of the L2 penalty in the loss.", callback=not_negative),
    ] = 0.0,
    weight_decay: Annotated[
        float | None,
        typer.Option(
            help="adamw: decoupled weight decay.", callback=not_negative, show_default="0.01"
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(metavar="N", callback=count, help="Rows of a minibatch.")
    ] = 64,
    epochs: Annotated[
        int,
        typer.Option(metavar="N", callback=count, help="Epochs; exactly so many are run."),
    ] = 10,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N",
            callback=seed_value,
            help="Seed of the initial weights, the shuffles and the held-out rows.",
        ),
    ] = 0,
    engine: Annotated[
        Engine,
        typer.Option(help="Who computes; `parmlp info` says which this machine has."),
    ] = Engine.AUTO,
    threads: Annotated[
        int | None,
        typer.Option(
            help="Threads; -1 for all usable cores.",
            show_default="the engine's choice",
            callback=thread_count,
        ),
    ] = None,
    adaptive_threads: Annotated[
        bool,
        typer.Option(
            "--adaptive-threads/--all-threads",
            help="Let fewer threads run the steps where that is measured to be faster, or always "
            "all of them. The weights are the same.",
        ),
    ] = True,
    schedule: Annotated[
        Schedule,
        typer.Option(
            help="How a minibatch is split: two-phase gives the same weights on any number of "
            "threads, partial-gradients is the paper's, fork-join also creates and joins the "
            "threads each minibatch."
        ),
    ] = Schedule.TWO_PHASE,
    precision: Annotated[
        Precision,
        typer.Option(
            help="bf16 rounds the operands of products to bfloat16: faster for wide layers, on "
            "CPUs with AVX512_BF16 and on GPUs. tf32 is for GPUs."
        ),
    ] = Precision.FULL,
    target: Annotated[
        str | None,
        typer.Option(
            help="CSV, Parquet: the column to learn. kddcup99: label, category or attack.",
            show_default="kddcup99: attack",
        ),
    ] = None,
    task: Annotated[
        Task | None,
        typer.Option(help="Files: what the target is.", show_default="by its values"),
    ] = None,
    test_fraction: Annotated[
        float | None,
        typer.Option(
            help="Share of the rows held out for the test; mnist and kddcup99 have test sets of "
            "their own.",
            show_default="0.2",
            callback=fraction,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Save the model in this file.", metavar="FILE"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Train a network in float32 and report its accuracy (or R2) on held-out rows.

    The configuration of the paper: --activation sigmoid --loss mse --solver sgd, with the default
    initial weights (Glorot uniform, zero biases), no momentum and no penalty.

    Ctrl-C stops the training, saves the model if --out is given, scores it (a second Ctrl-C leaves
    that out), and exits with 130.
    """
    if out is not None:
        check_output_path(out, "--out", inputs=[Path(dataset)])
    if engine is Engine.SERIAL and threads not in (None, 1):
        raise typer.BadParameter(
            "engine serial runs on one thread; use --engine threads", param_hint="--threads"
        )
    sgd, adamw = solver is Solver.SGD, solver is Solver.ADAMW
    leaky = activation is Activation.LEAKY_RELU
    refuse_without_effect("--momentum", momentum is not None and not sgd, "--solver sgd")
    refuse_without_effect("--nesterov", nesterov and not sgd, "--solver sgd")
    refuse_without_effect(
        "--weight-decay", weight_decay is not None and not adamw, "--solver adamw"
    )
    refuse_without_effect(
        "--leaky-relu-slope", leaky_relu_slope is not None and not leaky, "--activation leaky_relu"
    )

    from parmlp.cli.data_choice import KDD_TARGET, load_training_split
    from parmlp.cli.training import fit, make_estimator, save
    from parmlp.cli.training_report import print_plan, print_report, training_report

    if dataset == "kddcup99" and target is None:
        target = KDD_TARGET
    split = load_training_split(
        dataset, target=target, task=task, test_fraction=test_fraction, seed=seed
    )
    estimator = make_estimator(
        split,
        loss,
        hidden_layer_sizes=tuple(hidden or [100]),
        activation=activation.value,
        leaky_relu_slope=0.01 if leaky_relu_slope is None else leaky_relu_slope,
        out_activation=out_activation.value,
        weight_init=weight_init.value,
        solver=solver.value,
        learning_rate_init=_DEFAULT_LR[solver] if lr is None else lr,
        momentum=momentum or 0.0,
        nesterovs_momentum=nesterov,
        alpha=alpha,
        weight_decay=0.01 if weight_decay is None else weight_decay,
        batch_size=min(batch_size, len(split.X_train)),
        random_state=seed,
        engine=engine.value,
        n_threads=threads,
        adaptive_threads=adaptive_threads,
        schedule=schedule.value,
        precision=precision.value,
        max_iter=epochs,
    )
    if not as_json:
        print_plan(split, estimator)
    saved = "nothing is saved" if out else "nothing is saved without --out"
    try:
        with OneInterrupt() as interrupts:
            fit(estimator, split, shown=not as_json and is_terminal())
            interrupts.hold()
            if out is not None:
                save(
                    out,
                    estimator,
                    split,
                    {
                        "dataset": dataset,
                        "target": target,
                        "test_fraction": test_fraction,
                        "seed": seed,
                    },
                )
                saved = f"the model is saved in {out}"
        interrupted = estimator.stop_reason_ == "interrupted"
        if interrupted:
            typer.echo(f"interrupted {_progress(estimator, epochs)}; {saved}", err=True)
        report = training_report(estimator, split, model=out)
    except KeyboardInterrupt:
        if not hasattr(estimator, "stop_reason_"):
            raise  # before the training began
        typer.echo(f"interrupted: there are no scores; {saved}", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if as_json:
        print_json(report)
    else:
        print_report(report)
    if interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


def _progress(estimator: "MLPClassifier | MLPRegressor", epochs: int) -> str:
    """How far an interrupted training came, in words."""
    done = len(estimator.loss_curve_)
    return f"after {done} of {epochs} epochs" if done else "before the first epoch was finished"
