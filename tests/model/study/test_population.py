import numpy as np
import pytest

from model.cli import InputError
from model.study.population import read_population


@pytest.fixture
def file(tmp_path):
    def make(text, encoding="utf-8"):
        path = tmp_path / "people.csv"
        path.write_text(text, encoding=encoding)
        return path

    return make


def test_counts_of_single_ages_become_shares(file):
    people = read_population(file("age,count\n0,10\n1,30\n2,0\n"))
    assert list(people) == ["all"]
    assert len(people) == 101
    assert people["all"][:4].tolist() == [0.25, 0.75, 0.0, 0.0]


def test_a_band_is_spread_over_its_years_and_an_open_end_up_to_100(file):
    people = read_population(file("age,share\n0-4,0.5\n5-98,0\n99+,0.5\n"))["all"]
    assert people[:5].tolist() == pytest.approx([0.1] * 5)
    assert people[99:].tolist() == pytest.approx([0.25, 0.25])


def test_whoever_is_older_than_100_counts_as_100(file):
    people = read_population(file("age,count\n98-101,4\n102,1\n103+,5\n"))["all"]
    assert people[98:].tolist() == pytest.approx([0.1, 0.1, 0.8])


def test_sexes_are_shares_of_everybody_in_any_order_and_spelling(file):
    people = read_population(file("sex,age,count,note\nF,1+,0,x\nm,0,1,\nMale,1+,0,\nfemale,0,3,\n", "utf-8-sig"))
    assert list(people) == ["male", "female"]
    assert people.loc[0].tolist() == [0.25, 0.75]
    assert people.to_numpy().sum() == pytest.approx(1)


def test_only_proportions_matter(file):
    of_counts = read_population(file("age,count\n0-17,1000\n18+,4000\n"))
    of_percent = read_population(file("age,share\n0-17,20\n18+,80\n"))
    assert np.allclose(of_counts, of_percent)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"lacks the column age; it has \[\]"),
        ("age;count\n1;2\n", r"lacks the column age; it has \['age;count'\]"),
        ("age,people\n1,2\n", r"must have one of the columns count and share; it has \['age', 'people'\]"),
        ("age,count,share\n1,2,3\n", "must have one of the columns count and share"),
        ("age,count\n", "has no row"),
        ("age,count\nall,5\n", r"line 2: age is 'all'; it must be written 34, 30-34 or 85\+ \(leave totals out\)"),
        ("age,count\n0,5\n9-5,5\n", "line 3: age is '9-5'"),
        ("age,count\n131,5\n", "age is '131'"),
        ("age,count\n-1,5\n", "age is '-1'"),
        ("age,count\n\n\n,5\n", "line 4: age is ''"),
        ("age,count\n0,many\n", "line 2: count is 'many'; it must be a number"),
        ("age,share\n0,-0.1\n", "share is '-0.1'"),
        ("age,share\n0,nan\n", "share is 'nan'"),
        ("age,share\n0\n", "share is None"),
        ("age,count\n0,0\n1,0\n", "count is 0 in every row"),
        ("age,sex,count\n0,total,1\n", r"line 2: sex is 'total'; it must be male or female \(leave totals out\)"),
        ("age,sex,count\n0,male,1\n", "sex is never female; both are needed"),
        ("age,count\n0-4,1\n6-9,1\n", r"age 6 \(all\) comes after 4; ages must follow each other"),
        ("age,count\n0-4,1\n4-9,1\n", "age 4 .* comes after 4"),
        ("age,count\n0,1\n0,1\n", "age 0 .* comes after 0"),
        ("age,count\n85+,1\n90,1\n", "age 90 .* comes after 100"),
        ("age,sex,count\n0,m,1\n1,m,1\n0,f,1\n2,f,1\n", r"age 2 \(female\) comes after 0"),
    ],
)
def test_a_wrong_file_is_named(file, text, said):
    with pytest.raises(InputError, match=said) as refused:
        read_population(file(text))
    assert "people.csv" in str(refused.value)


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path, file):
    with pytest.raises(InputError, match=r"absent\.csv can't be read as a CSV file"):
        read_population(tmp_path / "absent.csv")
    with pytest.raises(InputError, match=r"people\.csv can't be read as a CSV file"):
        read_population(file("age,count\né,1\n", "latin-1"))
