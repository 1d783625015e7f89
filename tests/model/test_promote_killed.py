"""A promotion that is killed before each of its changes to a file."""

import itertools
import os
import shutil
import signal
import sys

import pytest

from model import promote
from model.release import checkpoint
from model.release.store import current_version, read_history

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
        finally:  # the copy of pytest must not continue
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
    """Yield a store after each kill, until the program runs to its end. Each store has the first few models."""

    def runs(n_promoted, **flags):
        for model in models[:n_promoted]:
            promote.main(promote.Settings(model=model, store=store))
        for number in itertools.count():
            copy = shutil.copytree(store, tmp_path / f"copy{number}", symlinks=True)
            was_killed = is_killed(promote.Settings(store=copy, **flags), number)
            yield copy
            shutil.rmtree(copy)
            if not was_killed:
                break

    return runs


def test_killed_promotion_leaves_a_complete_model_current_and_the_next_one_succeeds(killed, models):
    first, second = (checkpoint.version(model) for model in models)
    seen = []
    for store in killed(1, model=models[1]):
        seen.append(checkpoint.version(store / "current"))
        assert seen[-1] == current_version(store)
        promote.main(promote.Settings(model=models[1], store=store))
        assert checkpoint.version(store / "current") == second
        assert read_history(store)[-1].version == second
        assert {path.name for path in store.iterdir()} == {".lock", "history.jsonl", "current", first, second}
    assert len(seen) > 15
    assert seen == sorted(seen, key=[first, second].index)  # never from the second back to the first
    assert set(seen) == {first, second}


def test_killed_first_promotion_leaves_no_model_or_a_complete_one(killed, models):
    first = checkpoint.version(models[0])
    seen = set()
    for store in killed(0, model=models[0]):
        seen.add(version := current_version(store))
        assert version is None or checkpoint.version(store / "current") == version
        promote.main(promote.Settings(model=models[0], store=store))
        assert read_history(store)[-1].version == first
    assert seen == {None, first}
