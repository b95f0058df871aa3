"""Data sets: the known ones, and users' own tables.

MNIST and KDD Cup 1999 are read from their original files, which are verified; digits and mnist5k
come with Python packages. A data set that is not on this machine is an error that says what to do.
"""

from parmlp.datasets.dataset import Dataset, Split, unseen_fraction
from parmlp.datasets.digits import load_digits
from parmlp.datasets.files import DataFileStatus, cache_dir, data_files, fetch
from parmlp.datasets.kddcup99 import TARGETS, load_kddcup99
from parmlp.datasets.mnist import load_mnist
from parmlp.datasets.mnist5k import load_mnist5k
from parmlp.datasets.splits import NAMES, load_split, load_table_split
from parmlp.datasets.status import DatasetStatus, dataset_status
from parmlp.datasets.tables import read_labelled_rows, read_rows

__all__ = [
    "NAMES",
    "TARGETS",
    "DataFileStatus",
    "Dataset",
    "DatasetStatus",
    "Split",
    "cache_dir",
    "data_files",
    "dataset_status",
    "fetch",
    "load_digits",
    "load_kddcup99",
    "load_mnist",
    "load_mnist5k",
    "load_split",
    "load_table_split",
    "read_labelled_rows",
    "read_rows",
    "unseen_fraction",
]
