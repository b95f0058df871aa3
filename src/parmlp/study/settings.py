"""How thoroughly each preset measures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How a cell is measured.

    Attributes
    ----------
    rounds : int
        Quiet rounds wanted.
    repeats : int
        How often as many rounds are added while too few of them were quiet.
    seconds : float
        Length of a timing that is aimed at.
    minibatches : int
        Full minibatches that a timing has at least, however long they take; an epoch's time is then
        scaled from them.
    check_rows : int
        About how many rows are trained on to compare with the reference.
    patience : float
        Seconds that a competitor may take for one command before it is killed.
    every_mode : bool
        Whether all modes of a library are tried, to time the fastest; else its first one is timed,
        which spares a quick run what compiling the others takes.
    """

    rounds: int
    repeats: int
    seconds: float
    minibatches: int
    check_rows: int
    patience: float
    every_mode: bool


SETTINGS = {
    "quick": Settings(7, 0, 0.03, 2, 512, 30.0, every_mode=False),
    "paper": Settings(7, 1, 0.15, 1, 2048, 900.0, every_mode=True),
    "full": Settings(11, 2, 0.5, 4, 8192, 1800.0, every_mode=True),
}
