"""Models of a store that are no longer needed are deleted; the current one and those to return to stay."""

import os
import time

import pytest
import torch

from model import promote, retire
from model.cli import InputError
from model.release import checkpoint

DAY = 24 * 3600


def age(*paths, days):
    moment = time.time() - days * DAY
    for root in paths:
        for path in (*root.rglob("*"), root):
            os.utime(path, (moment, moment), follow_symlinks=False)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def versions(store, erring_model):
    """Four promoted models, oldest first; the last one is current."""
    models = [erring_model(name) for name in ("first", "second", "third", "fourth")]
    for model in models:
        promote.main(promote.Settings(model=model, store=store, force="test"))
    return [checkpoint.version(model) for model in models]


def run(store, **flags):
    retire.main(retire.Settings(store=store, **flags))


def test_the_current_model_and_those_before_it_stay(store, versions, capsys):
    age(store, days=400)
    run(store, keep_models=1, delete=True)
    assert [(store / version).is_dir() for version in versions] == [False, False, True, True]
    assert (store / "current" / "weights.safetensors").is_file()
    assert f"models that stay: {versions[3]}, {versions[2]}" in capsys.readouterr().out


def test_a_model_that_is_current_again_stays(store, versions):
    promote.main(promote.Settings(model=store / versions[0], store=store, force="better at the tills"))
    run(store, keep_models=1, delete=True)
    assert [(store / version).is_dir() for version in versions] == [True, False, False, True]


def test_newest_other_models_stay_if_the_history_is_lost(store, versions, capsys):
    (store / "history.jsonl").unlink()
    for days, version in enumerate((versions[1], versions[0], versions[2])):
        age(store / version, days=days)
    (store / f"{versions[0]}.compiled").mkdir()
    run(store, keep_models=2, delete=True)
    assert [(store / version).is_dir() for version in versions] == [True, True, False, True]
    assert f"models that stay: {versions[3]}, {versions[1]}, {versions[0]}\n" in capsys.readouterr().out
    run(store, keep_models=1, delete=True)
    assert [(store / version).is_dir() for version in versions] == [False, True, False, True]


def test_models_of_the_history_stay_before_newer_others(store, versions):
    lines = (store / "history.jsonl").read_text().splitlines(keepends=True)
    (store / "history.jsonl").write_text(lines[0] + lines[-1])
    age(store / versions[0], days=400)
    age(store / versions[1], days=3)
    run(store, keep_models=2, delete=True)
    assert [(store / version).is_dir() for version in versions] == [True, False, True, True]


def test_without_delete_nothing_changes(store, versions, capsys):
    (store / ".draft").mkdir()
    before = sorted(store.rglob("*"))
    run(store, keep_models=1)
    assert sorted(store.rglob("*")) == before
    printed = capsys.readouterr().out
    assert printed.count("would delete") == 3
    assert f"would delete {store / versions[0]}, " in printed
    assert "add --delete to delete" in printed


def test_old_candidates_drafts_and_packages_are_deleted(store, versions):
    candidates = store / "candidates"
    for name in ("age-old", "age-old.training", "age-new"):
        (candidates / name).mkdir(parents=True)
        (candidates / name / "held_out.csv").write_text("faces")
    age(candidates / "age-old", candidates / "age-old.training", days=91)
    (store / ".draft").mkdir()
    for version in (versions[0], versions[3]):
        (store / f"{version}.compiled").mkdir()
    current = store / f"{versions[3]}.compiled"
    for name in (f"{versions[3]}-{torch.__version__}-bfloat16-1.pt2", f"{versions[3]}-1.0-bfloat16-1.pt2", "tmp0a1b"):
        (current / name).write_text("package")
    age(current / f"{versions[3]}-1.0-bfloat16-1.pt2", days=2)
    (store / "notes").mkdir()
    run(store, delete=True)
    assert names(candidates) == ["age-new"]
    assert names(current) == sorted([f"{versions[3]}-{torch.__version__}-bfloat16-1.pt2", "tmp0a1b"])
    assert (store / f"{versions[0]}.compiled").is_dir()  # three models before the current one stay
    assert not (store / ".draft").exists()
    assert (store / "notes").is_dir()
    run(store, keep_models=1, delete=True)
    assert not (store / f"{versions[0]}.compiled").exists()


def test_a_missing_store_and_wrong_numbers_are_errors(tmp_path):
    with pytest.raises(InputError, match="it must be an existing folder"):
        run(tmp_path / "none")
    with pytest.raises(InputError, match="keep_models is 0; it must be at least 1"):
        run(tmp_path, keep_models=0)
    with pytest.raises(InputError, match="keep_candidates_days is 13; it must be at least 14"):
        run(tmp_path, keep_candidates_days=13)


def test_an_empty_store_stays_empty(store, capsys):
    run(store, delete=True)
    assert "models that stay: none" in capsys.readouterr().out
