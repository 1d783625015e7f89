import json
import re

import numpy as np
import pytest

from model import promote, train
from model.release import checkpoint
from model.training.recipe import Recipe

N_PHOTOS = 40


def in_use(store):
    """The version that the nightly run would use, verified as it does."""
    return checkpoint.version((store / "current").resolve())


def history(store):
    return [json.loads(line) for line in (store / "history.jsonl").read_text().splitlines()]


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"}


def damage(folder):
    (folder / "weights.safetensors").write_bytes(b"no weights")


def test_first_model_of_a_store_is_promoted_without_comparison(run_promote, store, erring_model):
    first = erring_model("first")
    assert run_promote(first).code == 0
    assert in_use(store) == checkpoint.version(first)
    assert str((store / "current").readlink()) == checkpoint.version(first)
    (line,) = history(store)
    assert (line["version"], line["version_before"]) == (checkpoint.version(first), None)


def test_with_compared_only_a_first_model_waits_for_a_person(run_promote, store, erring_model):
    first = erring_model("first")
    result = run_promote(first, "--compared-only")
    assert result.code == promote.NOT_COMPARED
    assert f"Not compared: {store} has no current model" in result.text
    assert not (store / "current").exists()
    assert run_promote(first, "--force", "approved").code == 0
    assert in_use(store) == checkpoint.version(first)


def test_with_compared_only_an_incomparable_model_waits_for_a_person(run_promote, store, erring_model):
    first, second = erring_model("first"), erring_model("second", error=-2.5, pictures="e")
    run_promote(first)
    result = run_promote(second, "--compared-only")
    assert result.code == promote.NOT_COMPARED
    assert "Not compared: " in result.text
    assert "too few to compare them" in result.text
    assert in_use(store) == checkpoint.version(first)


def test_compared_only_changes_nothing_for_models_that_can_be_compared(run_promote, store, erring_model):
    first, worse, better = erring_model("first"), erring_model("worse", error=6), erring_model("better", error=-2.5)
    run_promote(first)
    assert run_promote(worse, "--compared-only").code == promote.NOT_BETTER
    assert run_promote(better, "--compared-only").code == 0
    assert in_use(store) == checkpoint.version(better)


def test_better_model_is_promoted_with_the_figures_calculated_by_hand(run_promote, store, erring_model):
    first, second = erring_model("first", error=4), erring_model("second", error=-2.5)
    run_promote(first)
    result = run_promote(second)
    assert result.code == 0
    assert in_use(store) == checkpoint.version(second)
    assert history(store)[-1] | {"changed_at": "", "user": ""} == {
        "changed_at": "",
        "action": "promote",
        "version": checkpoint.version(second),
        "version_before": checkpoint.version(first),
        "comparison": {
            "n": 40,
            "mae_years": 2.5,
            "mae_before_years": 4.0,
            "gain_years": 1.5,
            "gain_low": 1.5,
            "gain_high": 1.5,
            "is_better": True,
            "verdict": "better than the other: MAE differs by -1.50 years (95 % -1.50 to -1.50)",
        },
        "reason": None,
        "user": "",
    }
    for expected in ("MAE 2.50 years", "MAE 4.00 years", "is better than the other: MAE differs by -1.50"):
        assert expected in result.text


def test_trained_models_can_be_promoted_and_compared(run_promote, labelled_set, tmp_path):
    faces = labelled_set(range(20, 60))
    for seed in (1, 2):
        recipe = Recipe(image_size=32, epochs=1, batch_size=4, learning_rate=1e-3)
        settings = {"pretrained": "none", "held_out_share": 0.3, "seed": seed, "recipe": recipe}
        train.main(train.Settings(data=faces, out=tmp_path / str(seed), **settings))
    assert run_promote(tmp_path / "1").code == 0
    result = run_promote(tmp_path / "2")
    assert result.code in {0, 99}
    for seed in "12":
        facts = checkpoint.read_model_json(tmp_path / seed)
        assert f"MAE {facts['metrics']['mae_years']:.2f} years" in result.text
        assert f"on {facts['data']['n_held_out']} held-out photos" in result.text


def test_errors_are_compared_photo_by_photo(run_promote, erring_model):
    # A tenth of a year on every photo: significant in pairs, not among errors of 0 to 20 years.
    errors = np.linspace(1, 20, N_PHOTOS)
    run_promote(erring_model("first", error=errors))
    assert run_promote(erring_model("second", error=errors - 0.1)).code == 0


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (5, "The candidate is worse than the other"),
        (4, "The candidate is not shown to differ from the other"),
        (4 + np.resize([1, -1.1], N_PHOTOS), "The candidate is not shown to differ from the other"),
    ],
    ids=["worse", "the same", "better by chance"],
)
def test_model_that_is_not_better_exits_with_99_and_changes_nothing(run_promote, store, erring_model, error, message):
    first = erring_model("first")
    run_promote(first)
    before = contents(store)
    result = run_promote(erring_model("second", error=error))
    assert result.code == 99
    assert contents(store) == before
    assert message in result.text
    assert f"was not promoted, {checkpoint.version(first)} stays current" in result.text


def test_reason_overrides_the_comparison_and_both_are_recorded(run_promote, store, erring_model):
    run_promote(erring_model("first"))
    worse = erring_model("second", error=5)
    assert run_promote(worse, "--force", "the first one was trained on photos that we may not use").code == 0
    assert in_use(store) == checkpoint.version(worse)
    line = history(store)[-1]
    assert line["reason"] == "the first one was trained on photos that we may not use"
    assert line["comparison"]["gain_years"] == -1


NOT_COMPARABLE = {
    "other labels": ({"ages": range(21, 61)}, r"second held out 0 of the 40 photos that .* held out: too few"),
    "other pictures": ({"pictures": "e"}, r"second held out 0 of the 40 photos that .* held out: too few"),
    "no table": ({"files": {}}, r"has no held_out\.csv for the comparison; train again"),
}


@pytest.mark.parametrize("kind", NOT_COMPARABLE)
@pytest.mark.parametrize("which", ["candidate", "current"])
def test_models_that_cannot_be_compared_need_force(run_promote, store, erring_model, which, kind):
    other, message = NOT_COMPARABLE[kind]
    first = erring_model("first", **(other if which == "current" else {}))
    second = erring_model("second", **({"error": 1} | (other if which == "candidate" else {})))
    run_promote(first)
    before = contents(store)
    result = run_promote(second)
    assert result.code == 2
    assert len(result.text.splitlines()) == 1
    if which == "candidate":
        assert re.search(message, result.text)
    assert contents(store) == before
    assert "Not compared: " in run_promote(second, "--force", "new labels").text
    assert (in_use(store), history(store)[-1]["comparison"]) == (checkpoint.version(second), None)


def test_models_are_compared_on_their_common_held_out_photos(run_promote, store, erring_model):
    """Photos were added, one label was corrected, and the candidate has a large error on all new photos."""
    run_promote(erring_model("first"))
    ages = [*range(20, 59), 80, *range(30, 50)]
    error = [3.0] * 39 + [30.0] * 21
    assert run_promote(erring_model("second", error=error, ages=ages)).code == 0
    assert history(store)[-1]["comparison"]["n"] == 39
    assert history(store)[-1]["comparison"]["gain_years"] == 1


@pytest.mark.parametrize(("n", "code"), [(20, 2), (21, 0)])
def test_more_than_half_of_the_current_models_held_out_photos_must_be_common(run_promote, erring_model, n, code):
    run_promote(erring_model("first"))
    assert run_promote(erring_model("second", error=1, ages=range(20, 20 + n))).code == code


def test_damaged_candidate_is_rejected_even_with_force(run_promote, store, erring_model):
    folder = erring_model("first")
    damage(folder)
    result = run_promote(folder, "--force", "in a hurry")
    assert result.code == 2
    assert "weights.safetensors has hash" in result.text
    assert not (store / "current").is_symlink()


def test_model_that_cannot_be_loaded_is_rejected(run_promote, erring_model):
    folder = erring_model("first")
    facts = checkpoint.read_model_json(folder)
    facts["network"]["head"] = "scalar"
    (folder / "model.json").write_text(json.dumps(facts))
    result = run_promote(folder)
    assert result.code == 2
    assert "do not fit its model.json" in result.text


def test_damaged_current_model_needs_force(run_promote, store, erring_model):
    first, second = erring_model("first"), erring_model("second", error=1)
    run_promote(first)
    damage(store / checkpoint.version(first))
    result = run_promote(second)
    assert result.code == 2
    assert "restore the folder" in result.text
    assert run_promote(second, "--force", "the copy of the first one is damaged").code == 0
    assert in_use(store) == checkpoint.version(second)


@pytest.mark.parametrize("by", ["its folder", "the link"])
def test_promoting_the_current_model_changes_nothing(run_promote, store, erring_model, by):
    first = erring_model("first")
    run_promote(first)
    before = contents(store)
    result = run_promote(first if by == "its folder" else store / "current")
    assert result.code == 0
    assert "is current already: nothing changed." in result.text
    assert contents(store) == before


def test_promoting_the_current_model_replaces_its_damaged_copy(run_promote, store, erring_model):
    first = erring_model("first")
    run_promote(first)
    damage(store / checkpoint.version(first))
    result = run_promote(first)
    assert result.code == 0
    assert "its damaged copy was replaced" in result.text
    assert in_use(store) == checkpoint.version(first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "MODEL"),
        (["age", "--force", ""], "--force is ''; it must be the reason"),
        (["age", "--force", "  "], "--force is '  '; it must be the reason"),
        (["nowhere"], "nowhere is not a model folder"),
    ],
)
def test_wrong_command_is_reported(run_promote, arguments, message):
    result = run_promote(*arguments)
    assert result.code == 2
    assert message in result.text


def test_flags_are_these(run_promote):
    assert set(re.findall(r"--[a-z][a-z-]*", run_promote("--help").text)) == {
        "--help",
        "--store",
        "--force",
        "--compared-only",
    }
