"""``python -m benchmarks.paper [FOLDER]``: docs/paper, written from a run's raw results.

The text is in ``text/``, one template a section. No figure stands in it: every measured number is
an expression that is evaluated from the run, sentences that say who is ahead or where a line goes
are chosen by the data, and a number that the run does not have is an error, not a gap.
"""
