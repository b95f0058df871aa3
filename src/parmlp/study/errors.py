"""The errors of the study."""

from parmlp.errors import ParmlpError


class StudyError(ParmlpError):
    """A study that cannot be run or read; the text says what to do."""
