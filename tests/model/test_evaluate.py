import json
import re
import shutil
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from model import evaluate, train
from model.cli import InputError
from model.evaluate import Settings, judge, unlearnt
from model.evaluation.calibration import error_kernel
from model.network import decode
from model.photos.data import read_labels
from model.predict import AgePredictor, network_output, score_photos
from model.release import checkpoint, contents as release
from model.training.recipe import Recipe

AGES = list(range(20, 80, 2))


@pytest.fixture
def trained(tmp_path, labelled_set):
    """Train on a set, with attributes, for one epoch; returns the model folder and the set."""
    recipe = Recipe(image_size=32, epochs=1, batch_size=4, learning_rate=1e-3)

    def make(out="age", *, head="distribution", **changed):
        data = tmp_path / "faces"
        if not data.exists():
            labelled_set(AGES)
            sexes = "".join(f"{number}.jpg,{'female' if number % 2 else 'male'}\n" for number in range(len(AGES)))
            (data / "attributes.csv").write_text("file_name,sex\n" + sexes)
        settings = {"pretrained": "none", "held_out_share": 0.4, "recipe": replace(recipe, head=head), **changed}
        train.main(train.Settings(data=data, out=tmp_path / out, **settings))
        return tmp_path / out, data

    return make


def judgement_of(folder):
    return json.loads((folder / "judgement.json").read_text())


def test_judging_and_scoring_give_a_photo_the_same_age(trained):
    model, data = trained()
    photos = read_labels(data)
    predictor = AgePredictor(model, batch_size=7)
    judged = decode(network_output(predictor, photos), predictor.calibration).age_years
    scores = score_photos(
        AgePredictor(model, batch_size=4),
        photos.file_names,
        lambda name: (data / "final_files" / name).read_bytes(),
        n_threads=2,
    )
    assert judged.tolist() == pytest.approx([score.age_years for score in scores], abs=0.1)


def test_the_set_that_a_model_was_trained_on_is_judged_by_what_was_held_out(trained, tmp_path):
    model, data = trained()
    part = unlearnt(read_labels(data), [model])
    assert part.file_names == release.read_held_out(model)["file_name"].tolist()
    assert 0 < len(part.ages) < len(AGES)
    evaluate.main(Settings(model=model, data=data, out=tmp_path / "judged"))
    assert judgement_of(tmp_path / "judged")["metrics"] == checkpoint.read_model_json(model)["metrics"]


@pytest.mark.parametrize("change", ["others come", "copies come", "labels are mended", "names change"])
def test_no_photo_that_was_learnt_judges_whatever_became_of_the_set(trained, photo, change):
    model, data = trained()
    held_out = {data / "final_files" / name for name in release.read_held_out(model)["file_name"]}
    learnt = {path.read_bytes() for path in (data / "final_files").iterdir() if path not in held_out}
    rows = (data / "labels.csv").read_text().splitlines()[1:]
    if change == "others come":
        for number in range(100, 120):
            rows.append(f"{number}.jpg,40")
            (data / "final_files" / f"{number}.jpg").write_bytes(photo(seed=number))
    if change == "copies come":  # under names that come before those of the originals
        for number in range(len(AGES)):
            rows.append(f"+{number}.jpg,{AGES[number]}")
            (data / "final_files" / f"+{number}.jpg").write_bytes(photo(seed=number, quality=90))
    if change == "labels are mended":
        rows = [f"{row.split(',')[0]},33" for row in rows]
    if change == "names change":
        rows = [f"x{row}" for row in rows]
        (data / "attributes.csv").unlink()
        for path in list((data / "final_files").iterdir()):
            path.rename(path.with_name(f"x{path.name}"))
    (data / "labels.csv").write_text("\n".join(["file_name,real_age", *rows]) + "\n")
    part = unlearnt(read_labels(data), [model])
    assert judge(model, part)[1]["calibrated_by_each_other"] == len(held_out)
    contents = {(data / "final_files" / name).read_bytes() for name in part.file_names}
    assert len(part.ages) == len(held_out) * (2 if change == "copies come" else 1) + 20 * (change == "others come")
    assert not contents & learnt


def test_a_model_is_not_judged_by_what_it_learnt_alone(trained):
    model, data = trained()
    held_out = set(release.read_held_out(model)["file_name"])
    rows = [row for row in (data / "labels.csv").read_text().splitlines() if row.split(",")[0] not in held_out]
    (data / "labels.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(InputError, match="faces has 0 photos that the models were not trained on; bring more"):
        evaluate.main(Settings(model=model, data=data))


def test_another_set_is_judged_whole_with_the_stored_calibration(trained, tmp_path, photo):
    model, _ = trained()
    other = tmp_path / "others"
    (other / "final_files").mkdir(parents=True)
    # Named like the first set's photos, but of other ages.
    (other / "labels.csv").write_text("file_name,real_age\n" + "".join(f"{n}.jpg,{n % 7 + 81}\n" for n in range(12)))
    for number in range(12):
        (other / "final_files" / f"{number}.jpg").write_bytes(photo(seed=500 + number))
    evaluate.main(Settings(model=model, data=other, out=tmp_path / "judged"))
    said = judgement_of(tmp_path / "judged")
    assert (said["metrics"]["n"], said["calibrated_by_each_other"]) == (12, 0)
    predictor, photos = AgePredictor(model), read_labels(other)
    ages = decode(network_output(predictor, photos), predictor.calibration).age_years.numpy()
    assert said["metrics"]["mae_years"] == pytest.approx(np.abs(ages - photos.ages).mean(), abs=0.01)
    constant = checkpoint.read_model_json(model)["data"]["median_age_years"]
    assert said["metrics"]["constant_mae_years"] == round(np.abs(constant - photos.ages).mean(), 4)


def test_all_figures_are_printed_written_and_drawn(trained, tmp_path, capsys):
    model, data = trained()
    capsys.readouterr()
    evaluate.main(Settings(model=model, data=data, out=tmp_path / "judged"))
    printed = capsys.readouterr().out
    said = judgement_of(tmp_path / "judged")
    page = (tmp_path / "judged" / "judgement.html").read_text()
    assert said["model_version"] == checkpoint.version(model)
    for table in ("error_by_decade", "error_by_sex", "at_equal_age", "coverage", "decisions", "reliability"):
        assert said[table], table
    assert {row["group"] for row in said["error_by_sex"]} == {"female", "male"}
    assert f"{said['metrics']['mae_years']}" in printed
    worst = release.read_held_out(model)
    worst["error"] = (worst["age_years"] - worst["real_age"]).abs()
    name = worst.sort_values("error").iloc[-1]["file_name"]
    assert name in page
    assert "beyond those of others of the same decade" in page
    assert page.count("data:image/jpeg") == min(25, len(worst))
    assert page.count("data:image/svg") >= 6
    assert "not to be passed on" in page


def test_a_scalar_head_is_judged_without_intervals(trained, tmp_path):
    model, data = trained(head="scalar")
    evaluate.main(Settings(model=model, data=data, out=tmp_path / "judged"))
    said = judgement_of(tmp_path / "judged")
    assert said["coverage"] == said["reliability"] == []
    assert said["metrics"]["n"] > 0


def test_a_second_model_is_compared_on_the_same_photos(trained, tmp_path):
    model, data = trained()
    other, _ = trained(out="other", seed=1)
    evaluate.main(Settings(model=model, data=data, against=other, out=tmp_path / "judged"))
    said = judgement_of(tmp_path / "judged")
    one, two = (release.read_held_out(folder) for folder in (model, other))
    gain = (two["age_years"] - two["real_age"]).abs() - (one["age_years"] - one["real_age"]).abs()
    assert said["comparison"]["against"] == checkpoint.version(other)
    assert said["comparison"]["gain_years"]["estimate"] == pytest.approx(gain.mean(), abs=1e-3)
    assert re.match(r"(better|worse|not shown to differ)", said["comparison"]["verdict"])


def test_two_models_are_compared_on_what_neither_has_learnt(trained, tmp_path):
    model, data = trained()
    other, _ = trained(out="other", held_out_share=0.2)
    evaluate.main(Settings(model=model, data=data, against=other, out=tmp_path / "judged"))
    held_out = [set(release.read_held_out(folder)["file_name"]) for folder in (model, other)]
    assert judgement_of(tmp_path / "judged")["metrics"]["n"] == len(held_out[0] & held_out[1]) < len(held_out[0])


def test_the_kernel_is_learnt_from_every_held_out_photo(trained):
    model, _ = trained()
    stored = json.loads((model / "calibration.json").read_text())
    held_out = release.read_held_out(model)
    assert stored["error_kernel"]["n_photos"] == stored["calibration"]["n_photos"] == len(held_out)
    kernel, _ = error_kernel(held_out["age_years"].to_numpy(), held_out["real_age"].to_numpy())
    assert np.array(stored["error_kernel"]["probability"]) == pytest.approx(kernel, abs=1e-4)


def test_the_card_says_what_the_model_is_for_how_it_errs_and_what_it_rests_on(trained, labelled_set):
    data = labelled_set(AGES)
    (data / "TERMS.txt").write_text("Research only.\nNo sale.\n")
    model, _ = trained()
    card = (model / "MODEL_CARD.md").read_text()
    facts = checkpoint.read_model_json(model)
    assert f"**{facts['metrics']['mae_years']:.2f} years**" in card
    assert f"`faces`: {facts['data']['n_training']} labelled photos" in card
    assert facts["data"]["training_fingerprint"] in card
    assert "> Research only.\n> No sale." in card
    assert "must not decide about a person" in card
    assert "Sex, ancestry or the like were not looked at" in card


def test_pages_with_faces_are_not_for_everybody_and_never_in_a_store(trained, tmp_path, store, monkeypatch):
    model, data = trained()
    (store / "current").symlink_to(model)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    evaluate.main(Settings(model=store / "current", data=data))
    page = tmp_path / "here" / "age.judgement" / "judgement.html"
    assert page.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in store.iterdir()] == ["current"]


def test_a_model_that_is_not_there_is_said_to_be_missing(trained, tmp_path):
    model, data = trained()
    with pytest.raises(InputError, match=r"nothing is not a model folder: it has no model\.json"):
        evaluate.main(Settings(model=model, data=data, against=tmp_path / "nothing"))


def test_weaknesses_are_found_in_the_figures():
    few = {"n": 29, "mae_years": 20.0, "mae_low": 18.0}
    row = {"n": 100, "mae_years": 6.0, "mae_low": 5.5}
    bad = {"n": 100, "mae_years": 12.0, "mae_low": 10.0}
    tables = {"error_by_decade": pd.DataFrame([{"group": "20-29", **row}, {"group": "60-69", **bad}])}
    said = release.weaknesses(tables)
    assert "Error above that of all photos: 60-69 (12.0 years)." in said
    assert "Sex, ancestry or the like were not looked at" in said
    even = {"error_by_decade": pd.DataFrame([{"group": "20-29", **row}, {"group": "60-69", **few}])}
    assert "Error above that of all photos: none." in release.weaknesses(even)
    names = ["of", "group", "n", "mae_beyond", "mae_beyond_low", "mae_beyond_high"]
    names += ["bias_beyond", "bias_beyond_low", "bias_beyond_high"]
    groups = [
        ("sex", "female", 100, 0.5, 0.1, 0.9, -0.2, -0.6, 0.2),
        ("sex", "male", 100, -0.5, -0.9, -0.1, 0.8, 0.4, 1.2),
        ("ancestry", "black", 100, 0.2, -0.2, 0.6, -1.2, -1.9, -0.5),
        ("ancestry", "other", 29, 3.0, 2.0, 4.0, 3.0, 2.0, 4.0),
    ]
    said = release.weaknesses({**tables, "at_equal_age": pd.DataFrame(groups, columns=names)})
    assert "the model errs more about: sex female (+0.5 years)." in said
    assert "the model makes younger: ancestry black (-1.2 years)." in said
    assert "the model makes older: sex male (+0.8 years)." in said
    assert "groups of 30 photos or more;" in said
    assert "not looked at" not in said


def test_a_folder_that_does_not_say_what_was_learnt_is_no_good(trained, tmp_path):
    model, data = trained()
    shutil.copytree(model, tmp_path / "bare")
    (tmp_path / "bare" / "learnt_photos.txt").unlink()
    with pytest.raises(InputError, match=r"bare lacks learnt_photos\.txt"):
        evaluate.main(Settings(model=tmp_path / "bare", data=data))


@pytest.mark.parametrize(
    ("program", "flags"),
    [
        (evaluate, {"--model", "--data", "--against", "--out"}),
        (
            train,
            {"--data", "--out", "--preset", "--head", "--pretrained", "--image-size", "--epochs", "--batch-size"}
            | {"--learning-rate", "--held-out-share", "--seed", "--weight-decay", "--label-sigma-years"}
            | {"--variation", "--erased-share"},
        ),
    ],
)
def test_flags_are_these(monkeypatch, capsys, program, flags):
    monkeypatch.setattr(sys, "argv", ["program", "--help"])
    with pytest.raises(SystemExit):
        program.run(program.main, program.Settings)
    assert set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out)) == flags | {"--help"}
