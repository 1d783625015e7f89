"""A promotion or rollback that is killed before each of its changes to a file."""

import itertools
import os
import shutil
import signal
import sys

import pytest

from model import promote
from model.release import checkpoint
from model.release.store import current_version, read_history, standing

CHANGES = {"os.chmod", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink"}

# From Python 3.12 on; no other thread of this process is at work when it forks.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def is_killed(settings: promote.Settings, at_change: int) -> bool:
    """Run the program in a process that is killed before it changes a file for the n-th time.

    Returns whether there was an n-th time.
    """
    child = os.fork()
    if child == 0:
        changes = itertools.count()

        def audit(event, arguments):
            opens = event == "open" and isinstance(arguments[1], str) and arguments[1][0] in "wax"
            if (opens or event in CHANGES) and next(changes) == at_change:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(audit)
            promote.main(settings)
        finally:  # nothing may go on in a copy of pytest
            os._exit(1 if sys.exception() else 0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in {0, -signal.SIGKILL}
    return status != 0


@pytest.fixture
def models(erring_model):
    """Two model folders; the second is better."""
    return [erring_model("first", error=4), erring_model("second", error=3)]


@pytest.fixture
def killed(store, models, tmp_path):
    """Give a store after each kill, until the program runs to its end; all were as the first few models left it."""

    def runs(n_promoted, **flags):
        for model in models[:n_promoted]:
            promote.main(promote.Settings(model=model, store=store))
        for number in itertools.count():
            copy = shutil.copytree(store, tmp_path / f"copy{number}", symlinks=True)
            goes_on = is_killed(promote.Settings(store=copy, **flags), number)
            yield copy
            shutil.rmtree(copy)
            if not goes_on:
                break

    return runs


def test_a_promotion_killed_anywhere_leaves_a_whole_model_current_and_the_next_one_mends_the_rest(killed, models):
    first, second = (checkpoint.version(model) for model in models)
    seen = []
    for store in killed(1, model=models[1]):
        seen.append(checkpoint.version(store / "current"))
        assert seen[-1] == current_version(store)
        promote.main(promote.Settings(model=models[1], store=store))
        assert checkpoint.version(store / "current") == second
        assert standing(read_history(store)) == [None, first, second]
        assert {path.name for path in store.iterdir()} == {".lock", "history.jsonl", "current", first, second}
    assert len(seen) > 15
    assert seen == sorted(seen, key=[first, second].index)  # never back
    assert set(seen) == {first, second}


def test_the_first_promotion_killed_anywhere_leaves_no_model_or_a_whole_one(killed, models):
    first = checkpoint.version(models[0])
    seen = set()
    for store in killed(0, model=models[0]):
        seen.add(version := current_version(store))
        assert version is None or checkpoint.version(store / "current") == version
        promote.main(promote.Settings(model=models[0], store=store))
        assert standing(read_history(store)) == [None, first]
    assert seen == {None, first}


def test_a_rollback_killed_anywhere_is_done_or_not(killed, models):
    first, second = (checkpoint.version(model) for model in models)
    seen = set()
    for store in killed(2, rollback=True):
        seen.add(version := checkpoint.version(store / "current"))
        assert standing(read_history(store)) == ([None, first] if version == first else [None, first, second])
    assert seen == {first, second}
