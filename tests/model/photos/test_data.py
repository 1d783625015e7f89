import pytest

from model.cli import InputError
from model.photos.data import read_labels
from model.photos.decoding import decode_photo


def test_png_named_jpg_is_readable(labelled_set, photo):
    folder, content = labelled_set([30]), photo(kind="PNG")
    (folder / "final_files" / "0.jpg").write_bytes(content)
    assert (read_labels(folder).pixels(32)[0] == decode_photo(content, 32)).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file_name,age\n0.jpg,30\n", "lacks the column real_age"),
        ("file_name,real_age\n", "has no rows"),
        ("", "lacks the column file_name"),
        ("file_name,real_age\n0.jpg,101\n", "line 2: real_age is '101'; it must be a whole number from 0 to 100"),
        ("file_name,real_age\n0.jpg,30\n1.jpg,-1\n", "line 3: real_age is '-1'"),
        ("file_name,real_age\n0.jpg,30.5\n", "real_age is '30.5'"),
        ("file_name,real_age\n0.jpg,\n", "real_age is ''"),
        ("file_name,real_age\n0.jpg\n", "real_age is None"),
        ("file_name,real_age\n0.jpg,30,5\n", "line 2 has more cells than the 2 of the header"),
        ("file_name,real_age\n\n0.jpg,130\n", "line 3: real_age is '130'"),
        ("file_name,real_age\n../0.jpg,30\n", "file_name is '../0.jpg'; it must be a plain file name"),
        ("file_name,real_age\n/etc/passwd,30\n", "file_name is '/etc/passwd'"),
        ("file_name,real_age\n..,30\n", "file_name is '..'"),
        ("file_name,real_age\n,30\n", "file_name is ''"),
        ("real_age,file_name\n30\n", "file_name is None"),
        ("file_name,real_age\n0.jpg,30\n0.jpg,31\n", "line 3: 0.jpg is listed twice"),
    ],
)
def test_wrong_labels_are_reported(tmp_path, text, message):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path)


def test_folder_without_labels_is_reported(tmp_path):
    with pytest.raises(InputError, match=r"labels\.csv does not exist; a labelled set is a folder"):
        read_labels(tmp_path)


def test_labels_saved_by_a_spreadsheet_are_readable(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"\xef\xbb\xbffile_name,real_age,real\r\n0.jpg,30,yes\r\n")
    labelled = read_labels(tmp_path)
    assert (labelled.file_names, labelled.ages.tolist()) == (["0.jpg"], [30])


@pytest.mark.parametrize("name", ["labels.csv", "attributes.csv"])
def test_table_that_is_not_utf_8_is_reported(labelled_set, name):
    folder = labelled_set([30])
    (folder / name).write_bytes("file_name,real_age\ncafé.jpg,30\n".encode("latin-1"))
    with pytest.raises(InputError, match=f"{name} can't be read as a CSV file in UTF-8"):
        read_labels(folder)


def test_photo_with_two_rows_of_attributes_is_reported(labelled_set):
    folder = labelled_set([30])
    (folder / "attributes.csv").write_text("file_name,sex\n0.jpg,male\n0.jpg,female\n")
    with pytest.raises(InputError, match=r"attributes\.csv line 3: 0\.jpg is listed twice"):
        read_labels(folder)


def test_folder_in_place_of_a_labelled_photo_is_reported(labelled_set):
    folder = labelled_set([30])
    (folder / "final_files" / "0.jpg").unlink()
    (folder / "final_files" / "0.jpg").mkdir()
    with pytest.raises(InputError, match=r"0\.jpg can't be read: Is a directory"):
        _ = read_labels(folder).digests


def test_missing_labelled_photo_is_reported(labelled_set):
    folder = labelled_set([30, 40])
    (folder / "final_files" / "1.jpg").unlink()
    with pytest.raises(InputError, match=r"labels\.csv lists 1\.jpg, which is not in"):
        read_labels(folder).pixels(32)


def test_labelled_photo_of_another_format_is_reported_with_the_accepted_ones(labelled_set, photo):
    folder = labelled_set([30])
    (folder / "final_files" / "0.jpg").write_bytes(photo(kind="TIFF"))
    with pytest.raises(InputError, match=r"0\.jpg can't be read: not_an_image: \d+ bytes, neither JPEG nor PNG"):
        read_labels(folder).pixels(32)


def test_unreadable_labelled_photo_is_reported(labelled_set):
    folder = labelled_set([30, 40])
    (folder / "final_files" / "1.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"1\.jpg can't be read: file_empty"):
        read_labels(folder).pixels(32)
