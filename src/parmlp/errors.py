"""The errors parmlp raises for files it reads and writes.

Estimators raise plain ``ValueError`` and ``TypeError`` as scikit-learn's do; these classes are for
what comes from outside: data files and model files.
"""


class ParmlpError(Exception):
    """Base of parmlp's own errors; the command line prints them without a traceback."""


class DataError(ParmlpError, ValueError):
    """A data set or data file that is missing, corrupt or unusable; the text says what to do."""


class ModelFileError(ParmlpError, ValueError):
    """A model file that cannot be written, or read back as a valid model."""
