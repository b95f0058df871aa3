"""scikit-learn's digits: 1,797 handwritten digits of 8 x 8 pixels, always at hand."""

import numpy as np

from parmlp.datasets.dataset import Dataset, class_names
from parmlp.preprocessing import PixelPreprocessing, Target

PREPROCESSING = PixelPreprocessing(64, 16.0, Target("label", "integer", "classification"))


def load_digits() -> Dataset:
    """Load the test set of the UCI ML hand-written digits that scikit-learn carries.

    Returns
    -------
    Dataset
        X float32 (1797, 64) in [0, 1]: the counts 0..16 divided by 16; y int64 (1797,), 0..9.
    """
    from sklearn import datasets  # 0.6 s; the estimators need it too, reading a file does not

    bunch = datasets.load_digits()
    X = PREPROCESSING.transform(bunch.data)
    y = bunch.target.astype(np.int64)
    return Dataset("digits", X, y, PREPROCESSING.feature_names(), class_names(y), PREPROCESSING)
