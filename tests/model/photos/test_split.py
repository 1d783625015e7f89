import numpy as np
import pytest

from model.cli import InputError
from model.photos.data import LabelledPhotos, read_labels


def labelled(names, ages=None):
    return LabelledPhotos(folder=None, file_names=names, ages=np.array(ages or [30] * len(names)))


def apart(photos, share):
    return photos.split(share, np.arange(len(photos.ages)))


def test_near_duplicates_stay_together_on_the_side_of_the_first():
    names = [f"{number:02}" for number in range(40)]
    copies = [f"{name}-copy" for name in names]
    _, held_out = labelled(copies + names).split(0.4, np.tile(np.arange(40), 2))
    _, without_copies = apart(labelled(names), 0.4)
    assert 5 < len(without_copies.file_names) < 35
    assert set(held_out.file_names) == {name + end for name in without_copies.file_names for end in ("", "-copy")}


def test_copies_of_a_photo_are_one_group(labelled_set, photo):
    folder = labelled_set([30, 40, 50])
    (folder / "final_files" / "2.jpg").write_bytes(photo(seed=0, quality=90))
    assert read_labels(folder).groups().tolist() == [0, 1, 0]


def test_attributes_come_in_the_order_of_the_photos(labelled_set):
    folder = labelled_set([30, 40, 50])
    assert read_labels(folder).attributes == {}
    (folder / "attributes.csv").write_text("file_name,sex\n2.jpg,female\n0.jpg,male\n9.jpg,male\n")
    labelled = read_labels(folder)
    assert labelled.attributes["sex"].tolist() == ["male", "unknown", "female"]
    assert labelled.take(np.array([False, True, True])).attributes["sex"].tolist() == ["unknown", "female"]
    (folder / "attributes.csv").write_text("name,sex\n2.jpg,female\n")
    with pytest.raises(InputError, match=r"attributes\.csv lacks the column file_name; it has \['name', 'sex'\]"):
        read_labels(folder)


def test_an_identity_makes_no_groups_and_a_file_of_other_photos_is_named(labelled_set, capsys):
    folder = labelled_set([30] * 30)
    rows = "".join(f"{number}.jpg,person {number},{number % 2}\n" for number in range(30))
    (folder / "attributes.csv").write_text("file_name,person,side\n" + rows)
    assert list(read_labels(folder).attributes) == ["side"]
    assert "person has 30 values; errors are told by columns of at most 20" in capsys.readouterr().out
    (folder / "attributes.csv").write_text("file_name,side\nx.jpg,left\n")
    with pytest.raises(InputError, match=r"attributes\.csv names none of the 30 photos"):
        read_labels(folder)


def test_a_column_that_is_called_like_the_groups_by_age_is_refused(labelled_set):
    folder = labelled_set([30, 40])
    (folder / "attributes.csv").write_text("file_name,decade\n0.jpg,1990s\n")
    with pytest.raises(
        InputError, match=r"attributes\.csv has a column decade, which is the name of the groups by age"
    ):
        read_labels(folder)


def test_a_photo_is_known_again_by_its_content(labelled_set):
    folder = labelled_set([30, 40])
    before = dict(zip(["0.jpg", "1.jpg"], read_labels(folder).digests, strict=True))
    (folder / "labels.csv").write_text("file_name,real_age\nnew.jpg,50\n0.jpg,30\n")
    (folder / "final_files" / "1.jpg").rename(folder / "final_files" / "new.jpg")
    assert read_labels(folder).digests == [before["0.jpg"], before["1.jpg"]]


def test_a_split_leaves_no_photo_out_and_none_on_both_sides():
    names = [f"{number}.jpg" for number in range(2000)]
    training, held_out = apart(labelled(names), 0.1)
    assert set(training.file_names) | set(held_out.file_names) == set(names)
    assert not set(training.file_names) & set(held_out.file_names)
    assert 150 < len(held_out.file_names) < 250


def test_a_photo_keeps_its_side_and_its_age_when_others_come_or_go():
    names = [f"{number}.jpg" for number in range(200)]
    ages = [number % 101 for number in range(200)]
    _, few = apart(labelled(names[:100], ages[:100]), 0.3)
    _, many = apart(labelled(names[::-1], ages[::-1]), 0.3)
    sides = dict(zip(many.file_names, many.ages, strict=True))
    assert {name: sides[name] for name in few.file_names} == dict(zip(few.file_names, few.ages, strict=True))
    assert {name for name in sides if name in names[:100]} == set(few.file_names)


def test_a_larger_held_out_part_holds_the_smaller_one():
    names = [f"{number}.jpg" for number in range(500)]
    assert set(apart(labelled(names), 0.1)[1].file_names) < set(apart(labelled(names), 0.2)[1].file_names)


def test_the_fingerprint_is_that_of_names_and_ages_in_any_order():
    one = labelled(["a", "b"], [30, 40])
    assert one.fingerprint == labelled(["b", "a"], [40, 30]).fingerprint
    assert one.fingerprint != labelled(["a", "b"], [40, 30]).fingerprint
    assert one.fingerprint != labelled(["a"], [30]).fingerprint
