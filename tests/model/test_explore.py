import base64
import html
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
    """Twelve labels: 1 is a copy of 0; 3 is 2, smaller and mirrored; 7 to 10 can't be used."""
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
    """Run the program; returns the page, unescaped and with single spaces, and the printed text."""

    def make(folder):
        explore.main(Settings(data=folder, out=tmp_path / "page.html"))
        text = html.unescape((tmp_path / "page.html").read_text(encoding="utf-8"))
        return " ".join(text.split()), capsys.readouterr().out

    return make


def faces(page):
    return [base64.b64decode(jpeg) for jpeg in re.findall(r"data:image/jpeg;base64,([^\"]*)", page)]


def test_each_unusable_photo_has_a_reason(blemished):
    photos = read_photos(read_labels(blemished))
    assert photos.problems[["file_name", "reason"]].to_numpy().tolist() == [
        ["10.jpg", "file_unreadable"],
        ["7.jpg", "truncated"],
        ["8.jpg", "file_empty"],
        ["9.jpg", "file_missing"],
    ]
    names = np.array(read_labels(blemished).file_names)
    assert names[~photos.readable].tolist() == photos.problems["file_name"].tolist()
    assert photos.unlabelled == ["12.jpg"]
    assert sorted(photos.sizes) == ["40 x 40 JPEG"] + ["48 x 48 JPEG"] * 7


def test_copies_and_their_conflicts_are_detected(blemished):
    copies = read_photos(read_labels(blemished)).copies
    repeated = photo_study.repeated(copies)
    assert repeated["file_name"].tolist() == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert repeated["digest"].duplicated(keep=False).tolist() == [True, True, False, False]
    assert photo_study.conflicts(copies).to_dict("records") == [
        {"youngest": "0.jpg", "oldest": "1.jpg", "low": 30, "high": 34, "years": 4}
    ]


def test_the_largest_conflict_comes_first_with_its_youngest_and_oldest_photo(labelled_set, photo):
    folder = labelled_set([30, 31, 60, 10, 35])
    for number, seed in enumerate([0, 0, 1, 1, 1]):
        (folder / "final_files" / f"{number}.jpg").write_bytes(photo(seed=seed))
    conflicts = photo_study.conflicts(read_photos(read_labels(folder)).copies)
    assert conflicts.to_numpy().tolist() == [["3.jpg", "2.jpg", 10, 60, 50], ["0.jpg", "1.jpg", 30, 31, 1]]


def test_unusable_photos_are_reported_and_not_counted(blemished, explored):
    page, printed = explored(blemished)
    finding = (
        "4 of 12 labelled photos can't be used (file_unreadable 1, truncated 1, file_empty 1, file_missing 1); "
        "training stops at the first."
    )
    assert f"- {finding}" in printed
    assert finding in page
    assert "8 photos of 7 ages from 20 to 60" in page
    assert "Files in final_files/ without a label: 1: 12.jpg." in page
    assert "2 pictures occur more than once, in 4 files. Of these, 2 are byte for byte the same" in page


def test_a_set_without_damage_has_no_such_findings(labelled_set, explored):
    page, printed = explored(labelled_set([20, 30]))
    assert "can't be used" not in printed
    assert "Every labelled photo exists and can be read." in page
    assert "Files in final_files/ without a label: 0." in page
    assert "0 pictures occur more than once" in page


def test_the_page_shows_faces_of_each_decade_and_a_notice(labelled_set, explored):
    page, _ = explored(labelled_set([25] * 10 + [61, 62, 99]))
    assert re.findall(r"<h3>([^<]*) years</h3>", page) == ["20-29", "60-69", "90-100"]
    assert len(faces(page)) == 8 + 2 + 1
    assert "It is for the team that may see them" in page


def test_a_repeated_picture_is_shown_once(labelled_set, photo, explored):
    folder = labelled_set([25, 25, 25])
    (folder / "final_files" / "1.jpg").write_bytes(photo(seed=0))
    assert len(faces(explored(folder)[0])) == 2


def test_faces_are_small_and_without_metadata(labelled_set, photo, explored):
    folder = labelled_set([25])
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    (folder / "final_files" / "0.jpg").write_bytes(photo(size=(900, 900), exif=exif))
    (face,) = faces(explored(folder)[0])
    assert b"where I live" not in face
    assert Image.open(io.BytesIO(face)).size == (120, 120)


def test_labels_alone_are_enough(tmp_path, explored):
    (tmp_path / "labels.csv").write_text("file_name,real_age\na.jpg,30\nb.jpg,33\n")
    page, printed = explored(tmp_path)
    assert "There is no folder final_files/, so only labels were studied" in page
    assert "2 photos of 2 ages from 30 to 33" in page
    assert "without a photo: 31-32." in page
    assert "noise is unknown" not in printed
    assert faces(page) == []
    assert "real people" not in page


def test_a_set_without_readable_photos_is_studied_by_its_labels(labelled_set, explored):
    folder = labelled_set([20, 30])
    for path in (folder / "final_files").iterdir():
        path.write_bytes(b"<html>404</html>")
    page, printed = explored(folder)
    assert "2 of 2 labelled photos can't be used (not_an_image 2)" in printed
    assert "2 photos of 2 ages from 20 to 30" in page


def test_names_of_files_are_escaped(labelled_set, photo, tmp_path):
    folder = labelled_set([20])
    (folder / "final_files" / "<b>&.jpg").write_bytes(photo())
    (folder / "labels.csv").write_text("file_name,real_age\n<i>.jpg,20\n")
    explore.main(Settings(data=folder, out=tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    assert "&lt;b&gt;&amp;.jpg" in page
    assert "&lt;i&gt;.jpg" in page
    assert "<b>" not in page
    assert "<i>" not in page


def test_groups_are_counted_if_there_are_attributes(labelled_set, explored):
    folder = labelled_set([20, 35, 61])
    assert "Groups of people" not in explored(folder)[0]
    (folder / "attributes.csv").write_text("file_name,sex\n0.jpg,female\n1.jpg,male\n2.jpg,male\n")
    page, printed = explored(folder)
    row = '<td>sex</td><td>male</td><td class="number">2</td><td class="number">48</td>'
    assert row in page
    assert "would be missed: sex female, 30-44 (0); sex female, 45-59 (0); sex female, 60_plus (0)" in printed


def test_a_column_of_names_is_not_used_as_groups(labelled_set, explored):
    folder = labelled_set([20] * 25)
    rows = "".join(f"{number}.jpg,someone {number}\n" for number in range(25))
    (folder / "attributes.csv").write_text(f"file_name,identity\n{rows}")
    assert "someone" not in explored(folder)[0]


def test_the_verdict_and_the_place_of_the_page_are_printed(labelled_set, explored, tmp_path):
    page, printed = explored(labelled_set([20, 30, 70]))
    findings = [line.removeprefix("- ") for line in printed.splitlines() if line.startswith("- ")]
    assert findings
    assert re.findall(r"<li>(.*?)</li>", page) == findings
    assert printed.splitlines()[-1] == str(tmp_path / "page.html")


def test_a_second_run_writes_an_equal_page(blemished, tmp_path):
    pages = [tmp_path / "first.html", tmp_path / "second.html"]
    for page in pages:
        explore.main(Settings(data=blemished, out=page))
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_wrong_input_is_an_error_and_writes_no_page(tmp_path, labelled_set, explored):
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
