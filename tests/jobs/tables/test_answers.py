import csv
import io
import json
from math import inf, nan

import pytest

from jobs.tables.answers import Answer, render


def one(value: object, column: str = "name") -> Answer:
    return Answer(columns=[column], rows=[(value,)])


def test_json_has_both_columns_of_one_name():
    answer = Answer(columns=["a", "a", "a_1"], rows=[(1, 2, 3)])
    assert json.loads(render(answer, "json")) == [{"a": 1, "a_2": 2, "a_1": 3}]
    twice = Answer(columns=["a", "a"], rows=[(1, 2)])
    assert json.loads(render(twice, "json")) == [{"a": 1, "a_1": 2}]


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_numbers_that_json_lacks_are_null(value):
    def refuse(text):
        raise AssertionError(text)

    nested = Answer(columns=["a", "b", "c"], rows=[(value, [1.5, value], {1: value})])
    expected = [{"a": None, "b": [1.5, None], "c": {"1": None}}]
    assert json.loads(render(nested, "json"), parse_constant=refuse) == expected


@pytest.mark.parametrize("layout", ["table", "csv"])
@pytest.mark.parametrize("control", ["\x1b[31m", "\x07", "\x9b2J", "\x7f", "\u202e", "\r"])
def test_no_control_character_reaches_a_terminal(layout, control):
    text = render(one(f"Lager{control}!", f"na{control}me"), layout)
    assert control[0] not in text
    assert text.count(repr(control[0])[1:-1]) == 2


def test_a_cell_of_a_table_is_one_line():
    assert render(one("two\nlines\tand more")).splitlines()[-1] == r"two\nlines\tand more"
    assert render(one(["two\nlines"])).count("\n") == 2


def test_csv_keeps_line_breaks_and_tabs_and_is_read_back_as_it_was():
    cells = ['=1+1, "x"\r\nnext\tline', "K\u00e4se\u00a05", "-5"]
    text = render(Answer(columns=["a", "b", "c"], rows=[tuple(cells)]), "csv")
    assert list(csv.reader(io.StringIO(text, newline="")))[1] == cells


def test_csv_for_a_spreadsheet_has_no_formula_and_keeps_numbers():
    answer = Answer(columns=["=a", "b", "c"], rows=[("=1+1", -5, "two\nlines")])
    assert render(answer, "csv", spreadsheet=True) == "'=a,b,c\n'=1+1,-5,two lines"
