import os
import re
import shlex
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
    """The version that the nightly run would use, verified as it does."""
    return checkpoint.version((store / "current").resolve())


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"}


def test_history_contains_time_and_user(run_promote, store, erring_model):
    run_promote(erring_model("first"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", read_history(store)[0].changed_at)
    assert read_history(store)[0].user


def test_copy_contains_the_released_files_and_is_readable_for_scoring(run_promote, store, erring_model):
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


def test_user_who_may_not_read_private_files_is_told_who_may(run_promote, store, erring_model, monkeypatch):
    first, second = erring_model("first", error=9), erring_model("second", error=1)
    for model, current in ((first, None), (second, first)):
        with monkeypatch.context() as other_user:
            other_user.setattr(os, "access", lambda path, _: path.name != "held_out.csv")
            result = run_promote(model)
        assert result.code == 2
        assert "held_out.csv is readable by its owner and group only" in result.text
        assert (store / "current").exists() == (current is not None)
        assert run_promote(model).code == 0
    assert not (store / ".draft").exists()


def test_store_does_not_need_the_promoted_folder(run_promote, store, erring_model, tmp_path):
    first = erring_model("first")
    version = checkpoint.version(first)
    run_promote(first)
    shutil.rmtree(first)
    shutil.move(store, tmp_path / "moved")
    assert in_use(tmp_path / "moved") == version


def test_printed_command_goes_back_to_the_model_before(run_promote, store, erring_model):
    first, second = erring_model("first", error=9), erring_model("second", error=1)
    assert "To go back" not in run_promote(first).text
    printed = run_promote(second).text
    message, command = printed.splitlines()[-2:]
    assert message == f"To go back to {checkpoint.version(first)}:"
    program, arguments = command.strip().split(" -m model.promote ")
    assert program == "python"
    previous, store_flag, same_store, *force = shlex.split(arguments)
    assert (previous, store_flag, same_store) == (str(store / checkpoint.version(first)), "--store", str(store))
    assert run_promote(previous, *force).code == 0
    assert in_use(store) == checkpoint.version(first)
    change = read_history(store)[-1]
    assert (change.action, change.version_before, change.reason) == ("promote", checkpoint.version(second), "REASON")


def test_going_back_to_a_model_whose_copy_was_deleted_is_an_error(run_promote, store, versions):
    shutil.rmtree(store / versions[1])
    result = run_promote(store / versions[1], "--force", "worse at the tills")
    assert result.code == 2
    assert f"{versions[1]} is not a model folder" in result.text
    assert in_use(store) == versions[2]


def test_model_can_be_promoted_again_after_going_back(run_promote, store, versions):
    run_promote(store / versions[1], "--force", "worse at the tills")
    assert run_promote(store / versions[2]).code == 0
    assert in_use(store) == versions[2]


@pytest.mark.parametrize("moved_to", [0, None])
def test_link_that_was_changed_by_hand_is_recorded(run_promote, store, versions, moved_to):
    (store / "current").unlink()
    if moved_to is not None:
        (store / "current").symlink_to(versions[moved_to])
    assert run_promote(store / versions[1]).code == 0
    assert in_use(store) == versions[1]
    by_hand, promotion = read_history(store)[3:]
    assert (by_hand.action, by_hand.version_before) == ("external", versions[2])
    assert by_hand.version == promotion.version_before == (None if moved_to is None else versions[moved_to])
    assert promotion.action == "promote"


@pytest.mark.usefixtures("versions")
def test_second_of_two_promotions_waits_and_is_compared_with_the_first(store, erring_model, capsys):
    best, good = erring_model("best", error=2), erring_model("good", error=3)
    settings = promote.Settings(model=good, store=store)
    codes = []

    def promote_later():
        with pytest.raises(SystemExit) as stop:
            promote.main(settings)
        codes.append(stop.value.code)

    waiting = threading.Thread(target=promote_later)
    with locked(store):
        waiting.start()
        deadline = time.monotonic() + 60
        while "another program is changing" not in capsys.readouterr().out:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        promote.promote(best, store, None)
    waiting.join(60)
    assert codes == [99]  # better than the third, but not than the best
    assert in_use(store) == checkpoint.version(best)


def test_store_that_does_not_exist_is_reported_and_not_created(run_promote, store, erring_model):
    first = erring_model("first")
    store.rmdir()
    result = run_promote(first)
    assert result.code == 2
    assert f"store is {store}; it must be an existing folder" in result.text
    assert not store.exists()


def test_store_that_cannot_be_written_to_is_reported(store):
    (store / ".lock").mkdir()
    with pytest.raises(InputError, match="it must be a folder that this user can write to"), locked(store):
        pass


@pytest.mark.parametrize("by_hand", ["a folder", "a link elsewhere"])
def test_file_in_place_of_the_link_is_reported(run_promote, store, erring_model, by_hand):
    first = erring_model("first")
    if by_hand == "a folder":
        shutil.copytree(first, store / "current")
    else:
        (store / "current").symlink_to(first)
    result = run_promote(first)
    assert result.code == 2
    assert "is not a link to a version beside it; remove it" in result.text


@pytest.mark.parametrize("line", ["{", "{}", "[]", '{"version": "v1"}'])
def test_damaged_history_is_reported(run_promote, store, erring_model, line):
    (store / "history.jsonl").write_text(line + "\n")
    result = run_promote(erring_model("first"))
    assert result.code == 2
    assert "history.jsonl line 1 is not a change; restore the file, or move it away" in result.text
    assert not (store / "current").is_symlink()
