import os
import re
import shutil
import threading
import time

import pytest

from model import promote
from model.cli import InputError
from model.release import checkpoint
from model.release.store import locked, read_history


@pytest.fixture
def versions(run_promote, erring_model):
    """Three models, promoted one after another; the folder of version n is `str(n)` beside the store."""
    folders = [erring_model(str(number), error=9 - number) for number in range(3)]
    assert [run_promote(folder).code for folder in folders] == [0, 0, 0]
    return [checkpoint.version(folder) for folder in folders]


def in_use(store):
    """The version that the nightly run would use, checked as it does."""
    return checkpoint.version((store / "current").resolve())


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"}


def test_the_history_says_when_and_who(run_promote, store, erring_model):
    run_promote(erring_model("first"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", read_history(store)[0].changed_at)
    assert read_history(store)[0].user


def test_a_copy_holds_what_was_released_and_who_scores_can_read_what_that_needs(run_promote, store, erring_model):
    first = erring_model("first")
    first.chmod(0o700)
    for file in first.iterdir():
        file.chmod(0o600)
    (first / "notes.txt").touch()
    run_promote(first)
    copy = (store / "current").resolve()
    assert {file.name for file in copy.iterdir()} == {"weights.safetensors", "model.json", "held_out.csv"}
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in copy.iterdir()}
    assert modes.pop("held_out.csv") == "0o640"
    assert set(modes.values()) == {"0o644"}
    assert oct(copy.stat().st_mode & 0o777) == "0o755"


def test_who_may_not_read_what_a_model_learnt_is_told_who_may(run_promote, store, erring_model, monkeypatch):
    first, second = erring_model("first", error=9), erring_model("second", error=1)
    for model, current in ((first, None), (second, first)):
        with monkeypatch.context() as other_user:
            other_user.setattr(os, "access", lambda path, _: path.name != "held_out.csv")
            done = run_promote(model)
        assert done.code == 2
        assert "held_out.csv is for its owner and group; judge and promote as a user of the group" in done.said
        assert (store / "current").exists() == (current is not None)
        assert run_promote(model).code == 0
    assert not (store / ".draft").exists()


def test_the_store_needs_nothing_of_the_folder_that_was_promoted(run_promote, store, erring_model, tmp_path):
    first = erring_model("first")
    version = checkpoint.version(first)
    run_promote(first)
    shutil.rmtree(first)
    shutil.move(store, tmp_path / "moved")
    assert in_use(tmp_path / "moved") == version


def test_each_rollback_goes_one_model_further_back(run_promote, store, versions):
    first, second, third = versions
    for before in (second, first):
        assert run_promote("--rollback").code == 0
        assert in_use(store) == before
    assert [(line.action, line.version_before, line.version) for line in read_history(store)[3:]] == [
        ("rollback", third, second),
        ("rollback", second, first),
    ]


def test_a_rollback_with_nothing_before_is_refused(run_promote, store, erring_model):
    done = run_promote("--rollback")
    assert done.code == 2
    assert "holds no model yet" in done.said
    run_promote(erring_model("first"))
    before = contents(store)
    done = run_promote("--rollback")
    assert done.code == 2
    assert f"knows no model before {in_use(store)}" in done.said
    assert contents(store) == before


def test_a_model_that_was_rolled_back_from_can_be_promoted_again(run_promote, store, versions):
    run_promote("--rollback")
    assert run_promote(store / versions[2]).code == 0
    assert in_use(store) == versions[2]
    run_promote("--rollback")
    assert in_use(store) == versions[1]


def test_after_an_older_model_was_promoted_by_force_a_rollback_leads_to_the_one_it_replaced(
    run_promote, store, versions
):
    run_promote(store / versions[1], "--force", "the newest is worse at the tills")
    assert in_use(store) == versions[1]
    run_promote("--rollback")
    assert in_use(store) == versions[2]


def test_a_rollback_to_a_model_whose_copy_is_gone_is_refused(run_promote, store, versions):
    shutil.rmtree(store / versions[1])
    done = run_promote("--rollback")
    assert done.code == 2
    assert f"{versions[1]} is no model folder" in done.said
    assert in_use(store) == versions[2]


@pytest.mark.parametrize("moved_to", [0, 1, None])
def test_a_link_that_a_person_moved_is_found_recorded_and_can_be_undone(run_promote, store, versions, moved_to):
    (store / "current").unlink()
    if moved_to is not None:
        (store / "current").symlink_to(versions[moved_to])
    run_promote("--rollback")
    # One model back is what the last rollback could have done, so the next one leads further.
    assert in_use(store) == (versions[0] if moved_to == 1 else versions[2])
    assert [line.action for line in read_history(store)[3:]] == ["found", "rollback"]


@pytest.mark.usefixtures("versions")
def test_the_second_of_two_promotions_waits_and_is_compared_with_what_the_first_left(store, erring_model, capsys):
    best, good = erring_model("best", error=2), erring_model("good", error=3)
    settings = promote.Settings(model=good, store=store)
    codes = []

    def later():
        with pytest.raises(SystemExit) as stop:
            promote.main(settings)
        codes.append(stop.value.code)

    waiting = threading.Thread(target=later)
    with locked(store):
        waiting.start()
        deadline = time.monotonic() + 60
        while "another program changes" not in capsys.readouterr().out:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        promote.promote(best, store, None)
    waiting.join(60)
    assert codes == [99]  # better than the third, but not than the best
    assert in_use(store) == checkpoint.version(best)


@pytest.mark.parametrize("arguments", [["first"], ["--rollback"]])
def test_a_store_that_does_not_exist_is_named_and_not_made(run_promote, store, erring_model, monkeypatch, arguments):
    monkeypatch.chdir(erring_model("first").parent)
    store.rmdir()
    done = run_promote(*arguments)
    assert done.code == 2
    assert f"store is {store}; it must be a folder that exists" in done.said
    assert not store.exists()


def test_a_store_that_cannot_be_written_to_is_named(store):
    (store / ".lock").mkdir()
    with pytest.raises(InputError, match="it must be a folder that this user can write to"), locked(store):
        pass


@pytest.mark.parametrize("by_hand", ["a folder", "a link elsewhere"])
def test_what_a_person_put_in_place_of_the_link_is_named(run_promote, store, erring_model, by_hand):
    first = erring_model("first")
    if by_hand == "a folder":
        shutil.copytree(first, store / "current")
    else:
        (store / "current").symlink_to(first)
    done = run_promote(first)
    assert done.code == 2
    assert "is no link to a version beside it; remove it" in done.said


@pytest.mark.parametrize("line", ["{", "{}", "[]", '{"version": "v1"}'])
def test_a_history_that_nobody_wrote_is_named(run_promote, store, erring_model, line):
    (store / "history.jsonl").write_text(line + "\n")
    done = run_promote(erring_model("first"))
    assert done.code == 2
    assert "history.jsonl line 1 is no change; restore the file, or move it away" in done.said
    assert not (store / "current").is_symlink()
