import io
import json
import re
import shutil
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from model import evaluate, kernel, predict, train
from model.cli import InputError
from model.evaluate import Settings, not_trained_on
from model.evaluation import metrics
from model.evaluation.metrics import BANDS
from model.network import decode
from model.photos.data import read_labels
from model.predictor import AgePredictor, network_output
from model.release import checkpoint, contents
from model.training.recipe import Recipe

AGES = list(range(20, 80, 2))


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(metrics, "N_RESAMPLES", 100)  # intervals are tested in evaluation/test_metrics.py


@pytest.fixture(scope="module")
def faces(tmp_path_factory, photo):
    """A labelled set with attributes and terms, which tests only read."""
    folder = tmp_path_factory.mktemp("set") / "faces"
    (folder / "final_files").mkdir(parents=True)
    for number in range(len(AGES)):
        (folder / "final_files" / f"{number}.jpg").write_bytes(photo(seed=number))
    rows = "".join(f"{number}.jpg,{age}\n" for number, age in enumerate(AGES))
    (folder / "labels.csv").write_text("file_name,real_age\n" + rows)
    sexes = "".join(f"{number}.jpg,{'female' if number % 2 else 'male'}\n" for number in range(len(AGES)))
    (folder / "attributes.csv").write_text("file_name,sex\n" + sexes)
    (folder / "TERMS.txt").write_text("Research only.\nNo sale.\n")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, faces):
    """Train a named variant on `faces` for one epoch; returns the model folder, which tests only read."""
    root = tmp_path_factory.mktemp("models")
    recipe = Recipe(image_size=32, epochs=1, batch_size=4, learning_rate=1e-3)
    variants = {
        "age": {},
        "other": {"seed": 1},
        "fewer": {"held_out_share": 0.2},
        "scalar": {"recipe": replace(recipe, head="scalar")},
    }

    @cache
    def make(name="age"):
        settings = {"pretrained": "none", "held_out_share": 0.4, "recipe": recipe, **variants[name]}
        train.main(train.Settings(data=faces, out=root / name, **settings))
        return root / name

    return make


@pytest.fixture(scope="module")
def compared(tmp_path_factory, trained, faces):
    """Compare two models that held out the same photos; returns what was written and printed."""

    @cache
    def make():
        out, printed = tmp_path_factory.mktemp("compared"), io.StringIO()
        model, other = trained(), trained("other")
        with redirect_stdout(printed):
            evaluate.main(Settings(model=model, data=faces, against=other, out=out))
        return SimpleNamespace(
            json=evaluation_in(out), page=(out / "evaluation.html").read_text(), printed=printed.getvalue()
        )

    return make


@pytest.fixture(scope="module")
def from_store(tmp_path_factory, trained, faces):
    """Evaluate the current model of a store against one that held out fewer photos, without --out."""

    @cache
    def make():
        root = tmp_path_factory.mktemp("from_store")
        (root / "store").mkdir()
        (root / "here").mkdir()
        (root / "store" / "current").symlink_to(trained())
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(root / "here")
            evaluate.main(Settings(model=root / "store" / "current", data=faces, against=trained("fewer")))
        return root

    return make


@pytest.fixture
def copied(tmp_path, faces):
    """A copy of `faces` that a test may change."""
    return shutil.copytree(faces, tmp_path / "faces")


def evaluation_in(folder):
    return json.loads((folder / "evaluation.json").read_text())


def test_evaluation_and_scoring_predict_the_same_age(trained, faces):
    photos = read_labels(faces)
    predictor = AgePredictor(trained(), batch_size=7)
    ages = decode(network_output(predictor, photos), predictor.calibration).age_years
    scores = predict.score_photos(
        AgePredictor(trained(), batch_size=4),
        photos.file_names,
        lambda name: (faces / "final_files" / name).read_bytes(),
        n_threads=2,
    )
    assert ages.tolist() == pytest.approx([score.age_years for score in scores], abs=0.1)


def test_a_model_is_evaluated_on_the_photos_that_it_held_out(trained, faces, compared):
    photos = not_trained_on(read_labels(faces), [trained()])
    assert photos.file_names == contents.read_held_out(trained())["file_name"].tolist()
    assert 0 < len(photos.ages) < len(AGES)
    assert compared().json["metrics"] == checkpoint.read_model_json(trained())["metrics"]


@pytest.mark.parametrize("change", ["photos are added", "copies are added", "labels are corrected", "names change"])
def test_no_training_photo_is_evaluated_after_the_set_changed(trained, copied, photo, change):
    model, files = trained(), copied / "final_files"
    held_out = {files / name for name in contents.read_held_out(model)["file_name"]}
    training = {path.read_bytes() for path in files.iterdir() if path not in held_out}
    rows = (copied / "labels.csv").read_text().splitlines()[1:]
    if change == "photos are added":
        for number in range(100, 120):
            rows.append(f"{number}.jpg,40")
            (files / f"{number}.jpg").write_bytes(photo(seed=number))
    if change == "copies are added":  # under names that come before those of the originals
        for number in range(len(AGES)):
            rows.append(f"+{number}.jpg,{AGES[number]}")
            (files / f"+{number}.jpg").write_bytes(photo(seed=number, quality=90))
    if change == "labels are corrected":
        rows = [f"{row.split(',')[0]},33" for row in rows]
    if change == "names change":
        rows = [f"x{row}" for row in rows]
        (copied / "attributes.csv").unlink()
        for path in list(files.iterdir()):
            path.rename(path.with_name(f"x{path.name}"))
    (copied / "labels.csv").write_text("\n".join(["file_name,real_age", *rows]) + "\n")
    photos = not_trained_on(read_labels(copied), [model])
    n_expected = len(held_out) * (2 if change == "copies are added" else 1) + 20 * (change == "photos are added")
    assert len(photos.ages) == n_expected
    assert not {(files / name).read_bytes() for name in photos.file_names} & training
    assert evaluate.evaluate(model, photos)[1].n_cross_calibrated == len(held_out)


def test_a_set_of_training_photos_alone_is_an_error(trained, copied):
    held_out = set(contents.read_held_out(trained())["file_name"])
    rows = [row for row in (copied / "labels.csv").read_text().splitlines() if row.split(",")[0] not in held_out]
    (copied / "labels.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(InputError, match="faces has 0 photos that the models were not trained on; add more"):
        evaluate.main(Settings(model=trained(), data=copied))


def test_another_set_is_evaluated_whole_with_the_stored_calibration(trained, labelled_set, photo):
    # Named like the first set's photos, but other pictures and ages.
    other = labelled_set([number % 7 + 81 for number in range(12)], name="others")
    for number in range(12):
        (other / "final_files" / f"{number}.jpg").write_bytes(photo(seed=500 + number))
    photos = not_trained_on(read_labels(other), [trained()])
    _, evaluation = evaluate.evaluate(trained(), photos)
    assert (evaluation.metrics.n, evaluation.n_cross_calibrated) == (12, 0)
    predictor = AgePredictor(trained())
    ages = decode(network_output(predictor, photos), predictor.calibration).age_years.numpy()
    assert evaluation.metrics.mae_years == pytest.approx(np.abs(ages - photos.ages).mean(), abs=0.01)
    constant = checkpoint.read_model_json(trained())["data"]["median_age_years"]
    assert evaluation.metrics.constant_mae_years == round(np.abs(constant - photos.ages).mean(), 4)


def test_all_figures_are_printed_written_and_drawn(trained, compared):
    figures, page = compared().json, compared().page
    assert figures["model_version"] == checkpoint.version(trained())
    for table in ("error_by_decade", "error_by_sex", "at_equal_age", "coverage", "decisions", "reliability"):
        assert figures[table], table
    assert {row["group"] for row in figures["error_by_sex"]} == {"female", "male"}
    assert f"mae_years: {figures['metrics']['mae_years']}" in compared().printed
    assert "beyond those of others of the same decade" in page
    assert page.count("data:image/svg") == 7
    assert figures["comparison"]["verdict"] in page
    assert figures["comparison"]["verdict"] in compared().printed


def test_the_page_shows_the_worst_photos_and_a_notice(trained, compared):
    held_out = contents.read_held_out(trained())
    worst = (held_out["age_years"] - held_out["real_age"]).abs().idxmax()
    captions = re.findall(r"<figcaption>(\S+): age", compared().page)
    assert captions[0] == held_out["file_name"][worst]
    assert len(captions) == compared().page.count("data:image/jpeg") == min(25, len(held_out))
    assert "do not pass it on" in compared().page


def test_a_scalar_head_is_evaluated_without_intervals(trained, faces, tmp_path):
    evaluate.main(Settings(model=trained("scalar"), data=faces, out=tmp_path / "out"))
    figures = evaluation_in(tmp_path / "out")
    assert figures["coverage"] == figures["reliability"] == []
    assert figures["metrics"]["n"] > 0
    assert (tmp_path / "out" / "evaluation.html").read_text().count("data:image/svg") == 5


def test_a_second_model_is_compared_on_the_same_photos(trained, compared):
    first, second = (contents.read_held_out(trained(name)) for name in ("age", "other"))
    gain = (second["age_years"] - second["real_age"]).abs() - (first["age_years"] - first["real_age"]).abs()
    comparison = compared().json["comparison"]
    assert comparison["against"] == checkpoint.version(trained("other"))
    assert comparison["gain_years"]["estimate"] == pytest.approx(gain.mean(), abs=1e-3)
    mae_years = checkpoint.read_model_json(trained("other"))["metrics"]["mae_years"]
    assert comparison["other_mae_years"] == pytest.approx(mae_years, abs=1e-3)
    assert re.match(r"(better|worse|not shown to differ)", comparison["verdict"])


def test_two_models_are_compared_on_photos_that_neither_was_trained_on(trained, from_store):
    held_out, fewer = (set(contents.read_held_out(trained(name))["file_name"]) for name in ("age", "fewer"))
    n = evaluation_in(from_store() / "here" / "age.evaluation")["metrics"]["n"]
    assert n == len(held_out & fewer) < len(held_out)


def test_by_default_the_page_is_written_outside_the_store_for_owner_and_group(from_store):
    page = from_store() / "here" / "age.evaluation" / "evaluation.html"
    assert page.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in (from_store() / "store").iterdir()] == ["current"]


def test_calibration_and_error_kernel_are_fitted_to_every_held_out_photo(trained, compared):
    stored = json.loads((trained() / "calibration.json").read_text())
    held_out = contents.read_held_out(trained())
    assert stored["calibration"]["n_photos"] == len(held_out)
    ages, estimates = held_out["real_age"].to_numpy(), held_out["age_years"].to_numpy()
    shares = kernel.band_shares(kernel.fit(ages, estimates), np.bincount(ages, minlength=101), list(BANDS.values()))
    rows = compared().json["band_to_band"]
    assert [row["band"] for row in rows] == list(BANDS)[1:]  # no photo is under 18
    assert [row["fitted_stay"] for row in rows] == pytest.approx(np.diag(shares)[1:].tolist(), abs=1e-3)
    assert "The nightly run does not correct its figures with fewer than" in compared().page


def test_the_model_card_states_use_data_terms_and_errors(trained):
    card = (trained() / "MODEL_CARD.md").read_text()
    facts = checkpoint.read_model_json(trained())
    assert f"**{facts['metrics']['mae_years']:.2f} years**" in card
    assert f"`faces`: {facts['data']['n_training']} labelled photos" in card
    assert facts["data"]["training_fingerprint"] in card
    assert "They are:\n\n> Research only.\n> No sale.\n\n## Error" in card
    assert "must not decide about a person" in card
    assert "Compared with others of the same decade of age" in card
    assert "### Error by sex\n\n| group | n | mae_years" in card
    assert "Not measured: this head has no distribution." in (trained("scalar") / "MODEL_CARD.md").read_text()


def test_a_missing_model_is_an_error(trained, faces, tmp_path):
    with pytest.raises(InputError, match=r"nothing is not a model folder: it has no model\.json"):
        evaluate.main(Settings(model=trained(), data=faces, against=tmp_path / "nothing"))


def test_a_model_folder_without_its_list_of_training_photos_is_an_error(trained, faces, tmp_path):
    shutil.copytree(trained(), tmp_path / "bare")
    (tmp_path / "bare" / "learnt_photos.txt").unlink()
    with pytest.raises(InputError, match=r"bare lacks learnt_photos\.txt"):
        evaluate.main(Settings(model=tmp_path / "bare", data=faces))


@pytest.mark.parametrize(
    ("program", "flags"),
    [
        (evaluate, {"--model", "--data", "--against", "--out"}),
        (
            train,
            {"--data", "--out", "--preset", "--head", "--pretrained", "--image-size", "--epochs", "--batch-size"}
            | {
                "--learning-rate",
                "--held-out-share",
                "--seed",
                "--weight-decay",
                "--label-sigma-years",
                "--variation",
                "--erased-share",
            },
        ),
    ],
)
def test_flags_are_these(monkeypatch, capsys, program, flags):
    monkeypatch.setattr(sys, "argv", ["program", "--help"])
    with pytest.raises(SystemExit):
        program.run(program.main, program.Settings)
    assert set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out)) == flags | {"--help"}
