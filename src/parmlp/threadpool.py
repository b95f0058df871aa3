"""How many threads there are at most where nobody names a number; threadpoolctl may lower it.

``import parmlp`` imports this, and with it the native core, so that threadpoolctl finds the core
among the loaded libraries: a limit set before the first fit would otherwise pass it by. Importing
estimators is what takes time, and is not needed for that.
"""

import os
from importlib.metadata import PackageNotFoundError

from threadpoolctl import LibController, register

from parmlp import _core


def most_threads() -> int:
    """Return the most threads that a team of the calling thread's has where nobody names a number.

    The usable cores (affinity and cgroup quota), at most ``OMP_NUM_THREADS`` where that is set and
    threadpoolctl's limit where there is one; one inside a worker of multiprocessing, where the
    processes are the parallelism.
    """
    most, limit = _unlimited(), _core.thread_limit()
    return min(most, limit) if limit else most


def _unlimited() -> int:
    import multiprocessing  # not at the top: it takes as long as all the rest

    if multiprocessing.parent_process() is not None:
        return 1
    cores = _core.usable_cores()
    # "4" or, for nested regions, "4,2": the outermost number counts
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(cores, int(first)) if first.isdecimal() and int(first) > 0 else cores


class _Controller(LibController):  # type: ignore[misc]
    """threadpoolctl's controller of the native core.

    The limit is the calling thread's own, as OpenMP's is. threadpoolctl asks for that: a limit ends
    by setting all libraries to what they had when it began, so that of two threads whose limits
    overlap one would lift the other's, or leave it in force for good.
    """

    user_api = "parmlp"
    internal_api = "parmlp"
    # other packages have a _core too: the symbols tell which is ours
    filename_prefixes = ("_core.",)
    check_symbols = ("parmlp_set_thread_limit",)

    def get_num_threads(self) -> int:
        return most_threads()

    def set_num_threads(self, num_threads: int) -> None:
        # threadpoolctl ends a limit by setting the number that it found. What does not lower the
        # number is no limit, so that a later change of affinity or OMP_NUM_THREADS still counts.
        # Below 1 means 1, as in OpenMP: whoever limits all libraries at once must not fail here.
        limit = 0 if num_threads >= _unlimited() else max(1, int(num_threads))
        self.dynlib.parmlp_set_thread_limit(limit)

    def get_version(self) -> str | None:
        import parmlp

        try:
            return parmlp.__version__
        except PackageNotFoundError:  # run from a source tree
            return None


register(_Controller)
