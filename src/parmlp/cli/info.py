"""`parmlp info`: what this machine is and which engines it has."""

from dataclasses import asdict
from typing import Annotated

import typer

from parmlp.cli.output import print_json


def info(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Show the processor, its caches, the usable cores, the SIMD target and the engines.

    Of an engine that is not available it says why, and what to install.
    """
    import platform
    from importlib.metadata import version

    from parmlp import _core
    from parmlp.cli import hardware
    from parmlp.engines import engine_statuses

    caches = hardware.caches()
    engines = engine_statuses()
    if as_json:
        print_json(
            {
                "parmlp": version("parmlp"),
                "python": platform.python_version(),
                "numpy": version("numpy"),
                "scikit_learn": version("scikit-learn"),
                "cpu": hardware.cpu_model(),
                "caches": [asdict(cache) for cache in caches],
                "logical_cores": hardware.logical_cores(),
                "usable_cores": _core.usable_cores(),
                "simd": _core.simd_target(),
                "simd_targets": _core.simd_targets(),
                "bf16": _core.runs_bf16(),
                "engines": [asdict(engine) for engine in engines],
            }
        )
        return
    typer.echo(
        f"parmlp {version('parmlp')}, Python {platform.python_version()}, "
        f"NumPy {version('numpy')}, scikit-learn {version('scikit-learn')}"
    )
    typer.echo(f"CPU      {hardware.cpu_model()}")
    if caches:
        sizes = ", ".join(f"L{cache.level} {cache.kind.lower()} {cache.size}" for cache in caches)
        typer.echo(f"caches   {sizes}")
    typer.echo(f"cores    {_core.usable_cores()} usable of {hardware.logical_cores()}")
    others = [name for name in _core.simd_targets() if name != _core.simd_target()]
    typer.echo(
        f"SIMD     {_core.simd_target()}" + (f" (also {', '.join(others)})" if others else "")
    )
    typer.echo(f"bf16     {'available' if _core.runs_bf16() else 'not available'}")
    for engine in engines:
        state = "available" if engine.available else f"not available: {engine.reason}"
        typer.echo(
            f"engine   {engine.name}: {state}" + (f" {engine.remedy}" if engine.remedy else "")
        )
