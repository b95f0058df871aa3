"""A fork after training: serial and threads train on in the child, openmp says why it cannot."""

import pytest

from native.support import PARALLEL_ENGINES, check_python

PRELUDE = """
import os, sys, time
from native.support import Case, core_network, draw, make_team, parameter_bytes, train
case = Case((23, 31, 7), rows=211, batch=50, solver="adam")
data = draw(case)
def trained(team):
    network = core_network(case, data)
    losses = train(case, data, network, team)
    return losses, parameter_bytes(network)
def fork(child):
    pid = os.fork()
    if pid == 0:
        try:
            child()
        except BaseException as error:
            print(type(error).__name__, error, file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    for _ in range(3000):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0, "the child failed"
            return
        time.sleep(0.01)
    os.kill(pid, 9)
    raise SystemExit("the child hangs")
"""


def test_serial_and_threads_train_in_the_child() -> None:
    """With the parent's team object, with a new one, in a grandchild; and the parent goes on."""
    check_python(
        PRELUDE
        + """
teams = [make_team("serial", 1), make_team("threads", 2), make_team("threads", 5)]
expected = trained(teams[0])
used = core_network(case, data)
used.predict(teams[1], data.X)
def child():
    for team in [*teams, make_team("threads", 2), make_team("threads", 3)]:
        assert trained(team) == expected
        assert sum(team.self_check(50, 20)) == 1000
        assert sum(team.self_check(5, 20, fresh_threads=True)) == 100
    used.predict(teams[1], data.X)
for team in teams: assert trained(team) == expected
for _ in range(3):
    fork(child)
    assert trained(teams[1]) == expected
fork(lambda: fork(child))
fork(lambda: (child(), fork(child)))
"""
    )


def test_fork_while_other_threads_train() -> None:
    check_python(
        PRELUDE
        + """
import threading
stop = False
def work():
    while not stop: trained(make_team("threads", 2))
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
expected = trained(make_team("serial", 1))
def child():
    assert trained(make_team("threads", 2)) == expected
for _ in range(10): fork(child)
stop = True
for thread in threads: thread.join()
"""
    )


@pytest.mark.skipif("openmp" not in PARALLEL_ENGINES, reason="this build has no OpenMP")
def test_openmp_refuses_in_the_child_of_a_process_that_used_it() -> None:
    """libgomp would wait for ever for threads that the child does not have."""
    check_python(
        PRELUDE
        + """
team = make_team("openmp", 2)
expected = trained(team)
def child():
    for refused in (team, make_team("openmp", 2), make_team("openmp", 3)):
        try:
            trained(refused)
        except RuntimeError as error:
            assert "fork" in str(error) and "engine='threads'" in str(error), error
        else:
            raise AssertionError("openmp ran in the child")
    assert trained(make_team("threads", 2)) == expected
    assert trained(make_team("serial", 1)) == expected
for _ in range(3): fork(child)
fork(lambda: fork(child))
assert trained(team) == expected
"""
    )


@pytest.mark.skipif("openmp" not in PARALLEL_ENGINES, reason="this build has no OpenMP")
def test_openmp_works_in_children_of_a_process_that_did_not_use_it() -> None:
    check_python(
        PRELUDE
        + """
team = make_team("openmp", 2)
expected = trained(make_team("serial", 1))
def child():
    assert trained(team) == expected
    assert trained(make_team("openmp", 3)) == expected
for _ in range(3): fork(child)
assert trained(team) == expected
"""
    )
