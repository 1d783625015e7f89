import os
import shutil

import pytest

from model import age_errors, kernel
from model.cli import InputError
from model.photos.data import read_labels
from model.predictor import AgePredictor
from model.release import checkpoint

HEADER = "file_name,digest,real_age,age_years\n"


@pytest.fixture
def model(released, tmp_path):
    """Make a model folder with the given further files."""

    def make(**files):
        folder = shutil.copytree(released, tmp_path / "age", dirs_exist_ok=True)
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(text)
        return folder

    return make


def test_pairs_of_the_held_out_photos_are_read(model):
    errors = age_errors.read(model(held_out__csv=HEADER + "a.jpg,d,20,22.5\nb.jpg,e,0,-1.25\n"), None)
    assert (errors.source, errors.true_years.tolist()) == ("held_out", [20, 0])
    assert errors.estimated_years.tolist() == [22.5, -1.25]
    assert errors.version == kernel.version(errors.true_years, errors.estimated_years)
    assert errors.summary.endswith("held out by age; affinity indices are corrected from "
                                   f"{kernel.MIN_PAIRS} pairs, so they are not corrected")  # fmt: skip


def test_a_model_folder_without_held_out_photos_has_no_pairs(model):
    errors = age_errors.read(model(), None)
    assert (len(errors.true_years), len(errors.estimated_years), errors.version) == (0, 0, None)
    assert "has no held_out.csv; affinity indices" in errors.summary


def test_closed_held_out_photos_give_no_pairs(model, monkeypatch):
    folder = model(held_out__csv=HEADER + "a.jpg,d,20,22.5\n")
    monkeypatch.setattr(os, "access", lambda path, _: path.name != "held_out.csv")
    errors = age_errors.read(folder, None)
    assert len(errors.true_years) == 0
    assert "held_out.csv is readable by its owner and group only" in errors.summary


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "can't be read as a CSV file in UTF-8"),
        ("file_name,digest,real_age\na.jpg,d,20\n", "lacks the column age_years; it has"),
        (HEADER + "a.jpg,d,20,22.5\nb.jpg,d,old,22.5\n", "row 2: real_age is 'old' and age_years '22.5'; they must be"),
        (HEADER + "a.jpg,d,20,young\n", "row 1: real_age is '20' and age_years 'young'"),
        (HEADER + "a.jpg,d,20,\n", "row 1: real_age is '20' and age_years ''"),
        (HEADER + "a.jpg,d,20,inf\n", "row 1: real_age is '20' and age_years 'inf'"),
        (HEADER + "a.jpg,d,101,22\n", "row 1: real_age is '101'"),
        (HEADER + "a.jpg,d,20.5,22\n", "row 1: real_age is '20.5'"),
    ],
)
def test_wrong_held_out_photos_are_reported(model, text, message):
    with pytest.raises(InputError, match=message):
        age_errors.read(model(held_out__csv=text), None)


def test_pairs_of_kernel_photos_are_those_of_usable_photos(model, labelled_set):
    folder = labelled_set([20, 30, 40, 50, 60])
    digests = read_labels(folder).digests
    files = folder / "final_files"
    shutil.copy(files / "1.jpg", files / "0.jpg")  # a copy of a photo that the model was trained on
    (files / "3.jpg").write_bytes(b"no photo")
    (files / "4.jpg").unlink()
    errors = age_errors.read(model(learnt_photos__txt=f"{digests[1]}\n"), folder)
    assert (errors.source, errors.true_years.tolist()) == ("kernel_photos", [40])
    assert 0 < errors.estimated_years[0] < 100
    assert "2 unreadable and 2 that the model was trained on left out" in errors.summary


def test_kernel_photos_have_the_ages_of_the_nightly_scores(model, labelled_set):
    folder = labelled_set([20, 30, 40])
    errors = age_errors.read(model(learnt_photos__txt=""), folder)
    scores = age_errors.score_photos(
        AgePredictor(model()),
        ["0.jpg", "1.jpg", "2.jpg"],
        lambda name: (folder / "final_files" / name).read_bytes(),
        n_threads=1,
    )
    assert errors.estimated_years == pytest.approx([score.age_years for score in scores], abs=1e-3)


def remove_labels(folder):
    (folder / "labels.csv").unlink()


def remove_photos(folder):
    shutil.rmtree(folder / "final_files")


def damage_photos(folder):
    for path in (folder / "final_files").iterdir():
        path.write_bytes(b"")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shutil.rmtree, "labels.csv does not exist; a labelled set is a folder with labels.csv and final_files/"),
        (remove_labels, "labels.csv does not exist"),
        (remove_photos, "has no folder final_files"),
        (damage_photos, "none of the 2 photos of .*faces can be used: 2 unreadable and 0 that the model was trained"),
    ],
)
def test_a_folder_without_usable_kernel_photos_is_reported(model, labelled_set, change, message):
    folder = labelled_set([20, 30])
    change(folder)
    with pytest.raises(InputError, match=message):
        age_errors.read(model(learnt_photos__txt=""), folder)


def test_kernel_photos_need_the_list_of_the_photos_that_the_model_was_trained_on(model, labelled_set):
    with pytest.raises(InputError, match=r"age lacks learnt_photos\.txt, which model\.train writes"):
        age_errors.read(model(), labelled_set([20, 30]))


def test_a_model_whose_private_files_are_closed_is_still_usable(model, monkeypatch):
    folder = model()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert checkpoint.version(folder)
    assert age_errors.read(folder, None).version is None
