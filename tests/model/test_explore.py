import base64
import io
import re
import sys

import numpy as np
import pytest
from PIL import Image, ImageOps

from model import explore
from model.cli import InputError
from model.explore import Settings
from model.photos.data import read_labels
from model.study import photo_study
from model.study.photo_study import read_photos


def recompressed(content, *, size=None, mirror=False):
    image = Image.open(io.BytesIO(content))
    image = ImageOps.mirror(image) if mirror else image
    file = io.BytesIO()
    (image.resize(size) if size else image).save(file, "JPEG", quality=70)
    return file.getvalue()


@pytest.fixture
def blemished(labelled_set, photo):
    """Twelve labels: 1 is 0 again, byte for byte; 3 is 2 again, smaller and mirrored; 7 to 10 can't be used."""
    folder = labelled_set([30, 34, 20, 20, 40, 41, 42, 50, 51, 52, 53, 60])
    files = folder / "final_files"
    (files / "1.jpg").write_bytes(photo(seed=0))
    (files / "3.jpg").write_bytes(recompressed(photo(seed=2), size=(40, 40), mirror=True))
    (files / "7.jpg").write_bytes(photo(seed=7, size=(300, 300))[:3000])
    (files / "8.jpg").write_bytes(b"")
    (files / "9.jpg").unlink()
    (files / "10.jpg").unlink()
    (files / "10.jpg").mkdir()
    (files / "12.jpg").write_bytes(photo(seed=12))
    (files / ".hidden").write_bytes(b"")
    return folder


@pytest.fixture
def explored(tmp_path, capsys):
    """Run the program; returns its page and what it printed."""

    def make(folder):
        explore.main(Settings(data=folder, out=tmp_path / "page.html"))
        return (tmp_path / "page.html").read_text(encoding="utf-8"), capsys.readouterr().out

    return make


def faces(page):
    return [base64.b64decode(found) for found in re.findall(r"data:image/jpeg;base64,([^\"]*)", page)]


def test_every_damage_is_found_with_its_reason(blemished):
    found = read_photos(read_labels(blemished))
    assert found.problems[["file_name", "reason"]].to_numpy().tolist() == [
        ["10.jpg", "file_unreadable"],
        ["7.jpg", "truncated"],
        ["8.jpg", "file_empty"],
        ["9.jpg", "file_missing"],
    ]
    names = np.array(read_labels(blemished).file_names)
    assert names[~found.readable].tolist() == found.problems["file_name"].tolist()
    assert found.unlabelled == ["12.jpg"]
    assert sorted(found.sizes) == ["40 x 40 JPEG"] + ["48 x 48 JPEG"] * 7


def test_copies_and_their_conflicts_are_found(blemished):
    copies = read_photos(read_labels(blemished)).copies
    repeated = photo_study.repeated(copies)
    assert repeated["file_name"].tolist() == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert repeated["digest"].duplicated(keep=False).tolist() == [True, True, False, False]
    assert photo_study.conflicts(copies).to_dict("records") == [
        {"youngest": "0.jpg", "oldest": "1.jpg", "low": 30, "high": 34, "years": 4}
    ]


def test_the_widest_conflict_comes_first_and_shows_its_ends(labelled_set, photo):
    folder = labelled_set([30, 31, 60, 10, 35])
    for number, seed in enumerate([0, 0, 1, 1, 1]):
        (folder / "final_files" / f"{number}.jpg").write_bytes(photo(seed=seed))
    found = photo_study.conflicts(read_photos(read_labels(folder)).copies)
    assert found.to_numpy().tolist() == [["3.jpg", "2.jpg", 10, 60, 50], ["0.jpg", "1.jpg", 30, 31, 1]]


def test_damage_is_told_and_left_out_of_the_ages(blemished, explored):
    page, said = explored(blemished)
    finding = (
        "4 of 12 labelled photos can't be used (file_unreadable 1, truncated 1, file_empty 1, file_missing 1); "
        "training stops at one."
    )
    assert f"- {finding}" in said
    assert finding.replace("'", "&#x27;") in page
    assert "8 photos of 7 ages from 20 to 60" in page
    assert "Files in final_files/ without a label: 1: 12.jpg." in page
    assert "2 pictures come more than once, in 4 files. Of these, 2 are byte for byte the same" in page


def test_a_sound_set_has_no_such_findings(labelled_set, explored):
    page, said = explored(labelled_set([20, 30]))
    assert "can't be used" not in said
    assert "Every labelled photo is there and can be read." in page
    assert "Files in final_files/ without a label: 0." in page
    assert "0 pictures come more than once" in page


def test_the_page_shows_each_decade_and_says_for_whom_it_is(labelled_set, explored):
    page, _ = explored(labelled_set([25] * 10 + [61, 62, 99]))
    assert re.findall(r"<h3>(.*?) years</h3>", page) == ["20-29", "60-69", "90-100"]
    assert len(faces(page)) == 8 + 2 + 1
    assert "It is for the team that may see them" in page


def test_a_picture_that_comes_twice_is_one_of_the_faces_once(labelled_set, photo, explored):
    folder = labelled_set([25, 25, 25])
    (folder / "final_files" / "1.jpg").write_bytes(photo(seed=0))
    assert len(faces(explored(folder)[0])) == 2


def test_faces_lose_what_the_camera_wrote_and_their_size(labelled_set, photo, explored):
    folder = labelled_set([25])
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    (folder / "final_files" / "0.jpg").write_bytes(photo(size=(900, 900), exif=exif))
    (face,) = faces(explored(folder)[0])
    assert b"where I live" not in face
    assert Image.open(io.BytesIO(face)).size == (120, 120)


def test_labels_alone_are_enough_and_the_page_says_so(tmp_path, explored):
    (tmp_path / "labels.csv").write_text("file_name,real_age\na.jpg,30\nb.jpg,33\n")
    page, said = explored(tmp_path)
    assert "There is no folder final_files/, so only labels were studied" in page
    assert "2 photos of 2 ages from 30 to 33" in page
    assert "without a photo: 31-32." in page
    assert "noise is unknown" not in said
    assert faces(page) == []
    assert "real people" not in page


def test_a_set_of_which_no_photo_can_be_read_is_studied_by_its_labels(labelled_set, explored):
    folder = labelled_set([20, 30])
    for path in (folder / "final_files").iterdir():
        path.write_bytes(b"<html>404</html>")
    page, said = explored(folder)
    assert "2 of 2 labelled photos can't be used (not_an_image 2)" in said
    assert "2 photos of 2 ages from 20 to 30" in page


def test_names_of_files_are_escaped(labelled_set, photo, explored):
    folder = labelled_set([20])
    (folder / "final_files" / "<b>&.jpg").write_bytes(photo())
    (folder / "labels.csv").write_text("file_name,real_age\n<i>.jpg,20\n")
    page, _ = explored(folder)
    assert "&lt;b&gt;&amp;.jpg" in page
    assert "&lt;i&gt;.jpg" in page
    assert "<b>" not in page
    assert "<i>" not in page


def test_groups_are_counted_where_attributes_are_there(labelled_set, explored):
    folder = labelled_set([20, 35, 61])
    assert "Groups of people" not in explored(folder)[0]
    (folder / "attributes.csv").write_text("file_name,sex\n0.jpg,female\n1.jpg,male\n2.jpg,male\n")
    page, said = explored(folder)
    row = '<td>sex</td><td>male</td><td class="number">2</td><td class="number">48</td>'
    assert row in page
    assert "would go unseen: sex female, 30-44 (0); sex female, 45-59 (0); sex female, 60_plus (0)" in said


def test_a_column_with_a_value_for_each_photo_makes_no_groups(labelled_set, explored):
    folder = labelled_set([20] * 25)
    rows = "".join(f"{number}.jpg,someone {number}\n" for number in range(25))
    (folder / "attributes.csv").write_text(f"file_name,identity\n{rows}")
    assert "someone" not in explored(folder)[0]


def test_the_terminal_tells_what_the_page_tells_and_where_it_is(labelled_set, explored, tmp_path):
    page, said = explored(labelled_set([20, 30, 70]))
    findings = [line.removeprefix("- ") for line in said.splitlines() if line.startswith("- ")]
    assert findings
    assert re.findall(r"<li>(.*?)</li>", page) == [finding.replace("'", "&#x27;") for finding in findings]
    assert said.splitlines()[-1] == str(tmp_path / "page.html")


def test_a_second_run_writes_the_same_page(blemished, explored):
    assert explored(blemished)[0] == explored(blemished)[0]


def test_wrong_input_is_an_error_and_leaves_no_page(tmp_path, labelled_set, explored):
    folder = labelled_set([20])
    (folder / "labels.csv").write_text("file_name,real_age\n0.jpg,old\n")
    with pytest.raises(InputError, match="real_age is 'old'"):
        explored(folder)
    assert not (tmp_path / "page.html").exists()
    with pytest.raises(InputError, match="a folder; it must be the name of a page"):
        explore.main(Settings(data=folder, out=tmp_path))


def test_flags_are_these(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["explore", "--help"])
    with pytest.raises(SystemExit):
        explore.run(explore.main, Settings)
    flags = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))
    assert flags == {"--data", "--out", "--help"}
