"""MNIST: 70,000 handwritten digits of 28 x 28 pixels (LeCun, Bottou, Bengio and Haffner, 1998)."""

import os
from typing import Literal

import numpy as np

from parmlp.datasets.dataset import Dataset, class_names
from parmlp.datasets.files import locate
from parmlp.datasets.idx import read_idx
from parmlp.errors import DataError
from parmlp.preprocessing import PixelPreprocessing, Target

PREPROCESSING = PixelPreprocessing(784, 255.0, Target("label", "integer", "classification"))

FILE_PREFIXES = {"train": "train", "test": "t10k"}


def load_mnist(
    subset: Literal["train", "test"] = "train",
    *,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = False,
) -> Dataset:
    """Load MNIST from its original files.

    Parameters
    ----------
    subset : {"train", "test"}, default="train"
        60,000 or 10,000 images.
    data_dir : path, optional
        Folder with the four ``.gz`` files; by default ``$PARMLP_DATA/mnist``, then the cache.
    download : bool, default=False
        Download files that are not on this machine (11 MB).

    Returns
    -------
    Dataset
        X float32 (n, 784) in [0, 1], rows of an image one after another; y int64 (n,), 0..9.

    Raises
    ------
    DataError
        The files are missing or are not the originals.
    """
    if subset not in FILE_PREFIXES:
        raise DataError(f"MNIST has no subset {subset!r}; choose 'train' or 'test'")
    prefix = FILE_PREFIXES[subset]
    images, labels = (
        read_idx(locate("mnist", f"{prefix}-{what}-ubyte.gz", data_dir=data_dir, download=download))
        for what in ("images-idx3", "labels-idx1")
    )
    X = PREPROCESSING.transform(images)
    y = labels.astype(np.int64)
    return Dataset("mnist", X, y, PREPROCESSING.feature_names(), class_names(y), PREPROCESSING)
