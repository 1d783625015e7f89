import json
import re
import shutil
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from model import checkpoint, evaluate, release, train
from model.cli import InputError
from model.data import read_labels
from model.evaluate import Settings, judged_part, network_output
from model.network import decode
from model.predict import AgePredictor, score_photos
from model.recipe import Recipe

AGES = list(range(20, 80, 2))


@pytest.fixture
def trained(tmp_path, labelled_set, monkeypatch):
    """Train on a set, with attributes, for one epoch; returns the model folder and the set."""
    recipe = Recipe(image_size=32, small_image_size=32, small_epochs=0, epochs=1, batch_size=4, learning_rate=1e-3)
    monkeypatch.setitem(train.PRESETS, "quick", recipe)

    def make(out="age", **changed):
        data = tmp_path / "faces"
        if not data.exists():
            labelled_set(AGES)
            sexes = "".join(f"{number}.jpg,{'female' if number % 2 else 'male'}\n" for number in range(len(AGES)))
            (data / "attributes.csv").write_text("file_name,sex\n" + sexes)
        settings = train.Settings(data=data, out=tmp_path / out, pretrained="none", held_out_share=0.4)
        train.main(replace(settings, **changed))
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
    part, is_held_out = judged_part(read_labels(data), model)
    assert is_held_out
    assert part.file_names == release.read_held_out(model)["file_name"].tolist()
    assert 0 < len(part.ages) < len(AGES)
    evaluate.main(Settings(model=model, data=data, out=tmp_path / "judged"))
    assert judgement_of(tmp_path / "judged")["metrics"] == checkpoint.read_card(model)["metrics"]


def test_no_photo_that_was_learnt_judges_when_others_have_come(trained, photo):
    model, data = trained()
    before, _ = judged_part(read_labels(data), model)
    with (data / "labels.csv").open("a") as file:
        for number in range(100, 120):
            file.write(f"{number}.jpg,40\n")
            (data / "final_files" / f"{number}.jpg").write_bytes(photo(seed=number))
    after, is_held_out = judged_part(read_labels(data), model)
    assert is_held_out
    learnt = {f"{number}.jpg" for number in range(len(AGES))} - set(before.file_names)
    assert set(before.file_names) < set(after.file_names)
    assert not learnt & set(after.file_names)


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
    assert (said["metrics"]["n"], said["photos"]) == (12, "the whole set, calibrated as stored")
    predictor, photos = AgePredictor(model), read_labels(other)
    ages = decode(network_output(predictor, photos), predictor.calibration).age_years.numpy()
    assert said["metrics"]["mae_years"] == pytest.approx(np.abs(ages - photos.ages).mean(), abs=0.01)
    constant = checkpoint.read_card(model)["data"]["median_age_years"]
    assert said["metrics"]["constant_mae_years"] == round(np.abs(constant - photos.ages).mean(), 4)


def test_all_figures_are_printed_written_and_drawn(trained, tmp_path, capsys):
    model, data = trained()
    capsys.readouterr()
    evaluate.main(Settings(model=model, data=data, out=tmp_path / "judged"))
    printed = capsys.readouterr().out
    said = judgement_of(tmp_path / "judged")
    page = (tmp_path / "judged" / "judgement.html").read_text()
    assert said["model_version"] == checkpoint.version(model)
    for table in ("error_by_decade", "error_by_sex", "coverage", "decisions", "reliability"):
        assert said[table], table
    assert {row["group"] for row in said["error_by_sex"]} == {"female", "male"}
    assert f"{said['metrics']['mae_years']}" in printed
    worst = release.read_held_out(model)
    worst["error"] = (worst["age_years"] - worst["real_age"]).abs()
    name = worst.sort_values("error").iloc[-1]["file_name"]
    assert name in page
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


def test_a_model_that_may_have_learnt_the_photos_is_no_match(trained):
    model, data = trained()
    other, _ = trained(out="other", held_out_share=0.2)
    with pytest.raises(InputError, match=r"other, which held other photos of .*faces out"):
        evaluate.main(Settings(model=model, data=data, against=other))


def test_the_kernel_is_learnt_from_every_held_out_photo(trained):
    model, _ = trained()
    kernel = json.loads((model / "calibration.json").read_text())["error_kernel"]
    assert np.array(kernel["probability"]).sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert max(kernel["n_effective"]) <= len(release.read_held_out(model))


def test_the_card_names_the_groups_that_the_model_fails(trained):
    model, _ = trained()
    card = (model / "MODEL_CARD.md").read_text()
    metrics = checkpoint.read_card(model)["metrics"]
    assert f"**{metrics['mae_years']:.2f} years**" in card
    assert "Error by sex" in card
    assert "must not decide about a person" in card


def test_weaknesses_are_found_in_the_figures():
    row = {"n": 100, "mae_years": 6.0, "mae_low": 5.5}
    bad = {"n": 100, "mae_years": 12.0, "mae_low": 10.0}
    tables = {"error_by_sex": pd.DataFrame([{"group": "female", **bad}, {"group": "male", **row}])}
    assert "sex female (12.0 years, n 100)" in release.weaknesses(tables)
    assert "male (6.0" not in release.weaknesses(tables)
    even = {"error_by_sex": pd.DataFrame([{"group": "female", **row}, {"group": "male", **row}])}
    assert release.weaknesses(even) == "No group's error is shown to be above that of all photos."


def test_a_folder_without_its_held_out_photos_is_named(trained, tmp_path):
    model, data = trained()
    shutil.copytree(model, tmp_path / "bare")
    (tmp_path / "bare" / "held_out.csv").unlink()
    with pytest.raises(InputError, match=r"bare lacks held_out\.csv"):
        evaluate.main(Settings(model=tmp_path / "bare", data=data))


@pytest.mark.parametrize(
    ("program", "flags"),
    [
        (evaluate, {"--model", "--data", "--against", "--out"}),
        (
            train,
            {"--data", "--out", "--preset", "--head", "--pretrained", "--image-size", "--epochs", "--batch-size"}
            | {"--learning-rate", "--held-out-share", "--seed"},
        ),
    ],
)
def test_flags_are_these(monkeypatch, capsys, program, flags):
    monkeypatch.setattr(sys, "argv", ["program", "--help"])
    with pytest.raises(SystemExit):
        program.run(program.main, program.Settings)
    assert set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out)) == flags | {"--help"}
