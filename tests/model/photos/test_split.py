import numpy as np
import pytest

from model.cli import InputError
from model.photos.data import LabelledPhotos, read_labels


def labelled(names, ages=None):
    return LabelledPhotos(folder=None, file_names=names, ages=np.array(ages or [30] * len(names)))


def split(photos, share):
    return photos.split(share, np.arange(len(photos.ages)))


def test_near_duplicates_stay_together_on_the_side_of_the_first():
    names = [f"{number:02}" for number in range(40)]
    copies = [f"{name}-copy" for name in names]
    _, held_out = labelled(copies + names).split(0.4, np.tile(np.arange(40), 2))
    _, without_copies = split(labelled(names), 0.4)
    assert 5 < len(without_copies.file_names) < 35
    assert set(held_out.file_names) == {name + end for name in without_copies.file_names for end in ("", "-copy")}


def test_copies_of_a_photo_form_one_group(labelled_set, photo):
    folder = labelled_set([30, 40, 50])
    (folder / "final_files" / "2.jpg").write_bytes(photo(seed=0, quality=90))
    assert read_labels(folder).groups().tolist() == [0, 1, 0]


def test_attributes_are_in_the_order_of_the_photos(labelled_set):
    folder = labelled_set([30, 40, 50])
    assert read_labels(folder).attributes == {}
    (folder / "attributes.csv").write_text("file_name,sex\n2.jpg,female\n0.jpg,male\n9.jpg,male\n")
    labelled = read_labels(folder)
    assert labelled.attributes["sex"].tolist() == ["male", "unknown", "female"]
    assert labelled.take(np.array([False, True, True])).attributes["sex"].tolist() == ["unknown", "female"]
    (folder / "attributes.csv").write_text("name,sex\n2.jpg,female\n")
    with pytest.raises(InputError, match=r"attributes\.csv lacks the column file_name; it has \['name', 'sex'\]"):
        read_labels(folder)


def test_identities_are_not_groups_and_a_file_of_other_photos_is_reported(labelled_set, capsys):
    folder = labelled_set([30] * 30)
    rows = "".join(f"{number}.jpg,person {number},{number % 2}\n" for number in range(30))
    (folder / "attributes.csv").write_text("file_name,person,side\n" + rows)
    assert list(read_labels(folder).attributes) == ["side"]
    assert "person has 30 values; errors are reported only by columns of at most 20" in capsys.readouterr().out
    (folder / "attributes.csv").write_text("file_name,side\nx.jpg,left\n")
    with pytest.raises(InputError, match=r"attributes\.csv lists none of the 30 photos"):
        read_labels(folder)


def test_column_named_like_the_groups_by_age_is_rejected(labelled_set):
    folder = labelled_set([30, 40])
    (folder / "attributes.csv").write_text("file_name,decade\n0.jpg,1990s\n")
    with pytest.raises(
        InputError, match=r"attributes\.csv has a column decade, which is the name of the groups by age"
    ):
        read_labels(folder)


def test_photo_is_identified_by_its_content(labelled_set):
    folder = labelled_set([30, 40])
    before = dict(zip(["0.jpg", "1.jpg"], read_labels(folder).digests, strict=True))
    (folder / "labels.csv").write_text("file_name,real_age\nnew.jpg,50\n0.jpg,30\n")
    (folder / "final_files" / "1.jpg").rename(folder / "final_files" / "new.jpg")
    assert read_labels(folder).digests == [before["0.jpg"], before["1.jpg"]]


def test_every_photo_is_in_exactly_one_part_of_the_split():
    names = [f"{number}.jpg" for number in range(2000)]
    training, held_out = split(labelled(names), 0.1)
    assert set(training.file_names) | set(held_out.file_names) == set(names)
    assert not set(training.file_names) & set(held_out.file_names)
    assert 150 < len(held_out.file_names) < 250


def test_photo_keeps_its_side_and_age_when_others_are_added_or_removed():
    names = [f"{number}.jpg" for number in range(200)]
    ages = [number % 101 for number in range(200)]
    _, few = split(labelled(names[:100], ages[:100]), 0.3)
    _, many = split(labelled(names[::-1], ages[::-1]), 0.3)
    sides = dict(zip(many.file_names, many.ages, strict=True))
    assert {name: sides[name] for name in few.file_names} == dict(zip(few.file_names, few.ages, strict=True))
    assert {name for name in sides if name in names[:100]} == set(few.file_names)


def test_larger_held_out_part_contains_the_smaller_one():
    names = [f"{number}.jpg" for number in range(500)]
    assert set(split(labelled(names), 0.1)[1].file_names) < set(split(labelled(names), 0.2)[1].file_names)


def test_fingerprint_depends_on_names_and_ages_but_not_on_order():
    photos = labelled(["a", "b"], [30, 40])
    assert photos.fingerprint == labelled(["b", "a"], [40, 30]).fingerprint
    assert photos.fingerprint != labelled(["a", "b"], [40, 30]).fingerprint
    assert photos.fingerprint != labelled(["a"], [30]).fingerprint
