"""Colours and markers, the same for an implementation in every figure.

Few hues of Okabe and Ito's palette, which people with any of the common colour blindnesses tell
apart: blue is ours, warm hues are the authors', green, purple and grey the rivals'. Markers and
line styles tell the rows of one hue apart, so that no figure depends on colour alone.
"""

from dataclasses import dataclass

from parmlp.study.analysis.implementations import implementation


@dataclass(frozen=True)
class Colour:
    """A colour on light and on dark paper, and the name of its CSS variable."""

    name: str
    light: str
    dark: str


INK = Colour("ink", "#1c2128", "#e6e9ed")
MUTED = Colour("muted", "#5b6570", "#a3adb8")
LINE = Colour("line", "#d3d9df", "#3a424c")
PAPER = Colour("paper", "#fefefe", "#14181d")
BLUE = Colour("blue", "#0072b2", "#4db2ee")
SKY = Colour("sky", "#3aa0dc", "#9bd6f9")
RED = Colour("red", "#d55e00", "#ff8a3d")
ORANGE = Colour("orange", "#c98a00", "#f0b93a")
GREEN = Colour("green", "#008f68", "#2fc79b")
PURPLE = Colour("purple", "#b85f93", "#e29ac4")
GREY = Colour("grey", "#6e7781", "#98a2ad")

COLOURS = (INK, MUTED, LINE, PAPER, BLUE, SKY, RED, ORANGE, GREEN, PURPLE, GREY)


@dataclass(frozen=True)
class Style:
    """How an implementation is drawn; hollow markers stand for serial rows."""

    colour: Colour
    marker: str = "o"
    line: str = "-"
    hollow: bool = False


STYLES = {
    "naive_serial": Style(RED, "o", "--", hollow=True),
    "naive_pthreads": Style(RED, "o"),
    "blas_serial": Style(ORANGE, "s", "--", hollow=True),
    "blas_parallel": Style(ORANGE, "s"),
    "cuda": Style(RED, "*"),
    "cuda_optimized": Style(ORANGE, "*"),
    "parmlp_serial": Style(BLUE, "o", "--", hollow=True),
    "parmlp_threads": Style(BLUE, "o"),
    "parmlp_openmp": Style(SKY, "s"),
    "parmlp_partial_gradients": Style(SKY, "^", "-."),
    "parmlp_fork_join": Style(SKY, "v", ":"),
    "parmlp_cuda": Style(BLUE, "*"),
    "theano": Style(GREEN, "o"),
    "pytensor": Style(GREEN, "s", "-."),
    "jax": Style(PURPLE, "D"),
    "torch": Style(GREY, "^"),
    "numpy": Style(GREY, "s", "--", hollow=True),
    "sklearn": Style(GREY, "v", ":"),
    "theano_gpu": Style(GREEN, "*"),
    "pytensor_gpu": Style(GREEN, "*", "-."),
    "jax_gpu": Style(PURPLE, "*"),
    "torch_gpu": Style(GREY, "*"),
}


def style(name: str) -> Style:
    """The style of an implementation; unknown ones are drawn in ink."""
    return STYLES.get(name, Style(INK, "X", ":"))


def label(name: str, threads: int | None = None) -> str:
    """An implementation's label, with its number of threads where that tells rows apart."""
    found = implementation(name)
    if threads is None or found.device == "gpu":
        return found.label
    return f"{found.label} ({threads})"
