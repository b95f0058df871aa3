"""The study: the paper's experiments, run and explained on the user's own machine.

``parmlp study run`` measures (:mod:`parmlp.study.runner`) what the files in ``experiments/``
declare and appends records (:mod:`parmlp.study.records`) to a folder, which
``parmlp study report`` draws.
"""
