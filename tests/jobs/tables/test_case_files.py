"""Files for a reviewer: the exported text, and the checks of the answers."""

import csv
import datetime as dt
import io

import pyarrow as pa
import pytest

from jobs.tables.case_files import CaseTable, check_answers, export_text, open_cases, read_answers, store_answers
from jobs.tables.cases import CASES
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse
from model.cli import InputError

DATE = dt.date(2026, 11, 9)


def case(number: int, **changed) -> dict:
    return {
        "business_date": DATE,
        "case_id": f"case-{number}",
        "batch_id": "batch-1",
        "receipt_id": f"r{number}",
        "store_id": "s1",
        "till_id": "t1",
        "opened_at": dt.datetime(2026, 11, 9, 17, tzinfo=dt.UTC),
        "goods": "alcohol",
        "shown_order": number,
        "role": "cashier",
        "cashier_id": "c1",
        "reviewer": None,
    } | changed


def shown(*cases: dict, time_zone: str = "UTC") -> list[dict]:
    return list(csv.DictReader(io.StringIO(export_text(cases, time_zone))))


def errors(*answers: tuple[str, str, str], cases: list[dict] | None = None) -> list[str]:
    """Check answers, (case_id, looks_under_25, id_seen) from line 2 on, to the cases 1, 2 and 3."""
    names = ("case_id", "looks_under_25", "id_seen")
    lines = {line: dict(zip(names, answer, strict=True)) for line, answer in enumerate(answers, start=2)}
    known = [case(1), case(2), case(3)] if cases is None else cases
    return check_answers(lines, CaseTable(Warehouse("unused"), known, {"case-old"}, DATE))


COMPLETE = [(f"case-{number}", "yes", "no") for number in (1, 2, 3)]


def test_times_are_local_with_their_offset():
    assert shown(case(1))[0]["opened_at"] == "2026-11-09T17:00:00+00:00"
    assert shown(case(1), time_zone="Europe/Berlin")[0]["opened_at"] == "2026-11-09T18:00:00+01:00"


@pytest.mark.parametrize("time_zone", ["Mars", "../secret", ""])
def test_an_unknown_time_zone_is_an_error(time_zone):
    with pytest.raises(InputError, match="is not a known time zone"):
        export_text([case(1)], time_zone)


@pytest.mark.parametrize("name", ["receipt_id", "store_id", "till_id", "goods"])
@pytest.mark.parametrize("value", ['=HYPERLINK("http://x")', "+1", "-1", "@s", "\t=1", "\r=1", "\n=1"])
def test_a_cell_is_never_a_formula(name, value):
    (row,) = shown(case(1, **{name: value}))
    assert row[name].startswith("'")


def test_a_cell_can_contain_separators_and_be_empty():
    (row,) = shown(case(1, store_id='a,"b"\r\nc', till_id=None))
    assert (row["store_id"], row["till_id"]) == ('a,"b"  c', "")


def test_complete_answers_have_no_error():
    assert errors(*COMPLETE) == []


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([("case-1", "yes", "maybe"), *COMPLETE[1:]], "line 2: id_seen is 'maybe'; should be yes, no, unclear"),
        ([("case-1", "", "no"), *COMPLETE[1:]], "line 2: looks_under_25 is ''; should be yes, no, unclear"),
        ([*COMPLETE, ("case-x", "yes", "no")], "line 5: there is no case 'case-x'"),
        ([*COMPLETE, ("", "yes", "no")], "line 5: there is no case ''"),
        ([*COMPLETE, COMPLETE[0]], "line 5: case 'case-1' occurs twice"),
        ([*COMPLETE, ("case-old", "yes", "no")], "line 5: case 'case-old' has expired"),
        (COMPLETE[:1], "the file lacks 2 cases of a batch, such as 'case-2'"),
    ],
)
def test_each_error_has_its_line_and_value(answers, message):
    assert errors(*answers) == [message]


def test_an_answered_case_cannot_be_answered_again():
    answered = [case(1, reviewer="R. Meyer"), case(2), case(3)]
    assert errors(*COMPLETE, cases=answered) == ["line 2: case 'case-1' is answered already; answers are imported once"]
    assert errors(*COMPLETE[1:], cases=answered) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"case_id,looks_under_25\nx,yes\n", "lacks the columns id_seen; found 'case_id,looks_under_25'"),
        (b"case_id,looks_under_25,id_seen\n", "has no rows"),
        (b"", "lacks the columns case_id, looks_under_25, id_seen; found ''"),
        (b"PK\x03\x04\x00\xff\n\x00", "lacks the columns"),
        (b"case_id,looks_under_25,id_seen\nx," + b"y" * 200_000 + b",no\n", "line 2: field larger than field limit"),
    ],
)
def test_a_file_of_another_kind_is_an_error(tmp_path, content, message):
    (tmp_path / "in.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_answers(tmp_path / "in.csv")


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv can't be read"):
        read_answers(tmp_path / "none.csv")


def test_a_line_number_is_that_of_the_file(tmp_path):
    (tmp_path / "in.csv").write_text("case_id,looks_under_25,id_seen,note\nk1,yes,no,\n,,,\nk2,no,no,x\n")
    assert list(read_answers(tmp_path / "in.csv")) == [2, 4]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_file_that_a_spreadsheet_has_saved_can_be_read(tmp_path, delimiter):
    lines = ["case_id,goods,looks_under_25,id_seen", "K1,ü,Yes ,UNCLEAR", ",,,"]
    text = "\r\n".join(lines).replace(",", delimiter)
    (tmp_path / "in.csv").write_bytes(b"\xef\xbb\xbf" + text.encode("latin-1"))
    assert read_answers(tmp_path / "in.csv") == {2: {"case_id": "k1", "looks_under_25": "yes", "id_seen": "unclear"}}


@pytest.mark.parametrize("reviewer", ["", "  ", "a\nb", "x" * 101])
def test_the_name_of_the_reviewer_is_required(reviewer):
    table = CaseTable(Warehouse("unused"), [], set(), DATE)
    with pytest.raises(InputError, match=r"--reviewer .* should be a name of 1 to 100 characters"):
        store_answers(table, {}, reviewer, dt.datetime.now(dt.UTC))


def test_answers_that_were_stored_since_the_cases_were_read_are_not_overwritten(tmp_path):
    warehouse = Warehouse(str(tmp_path))
    warehouse.create_tables()
    row = {name: value for name, value in case(1).items() if name != "business_date"}
    rows = [row | {"delete_after": DATE}]
    warehouse.replace(CASES, pa.Table.from_pylist(rows, schema=WAREHOUSE[CASES].row_schema), DATE)
    read_before = open_cases(str(tmp_path))
    answers = {2: {"case_id": "case-1", "looks_under_25": "yes", "id_seen": "no"}}
    store_answers(read_before, answers, "First", dt.datetime.now(dt.UTC))
    with pytest.raises(InputError, match="case 'case-1' was answered at the same time"):
        store_answers(read_before, answers, "Second", dt.datetime.now(dt.UTC))
    assert warehouse.rows(CASES, "reviewer").to_pylist() == [{"reviewer": "First"}]


def test_a_night_with_a_wrong_year_hides_no_case(tmp_path):
    warehouse = Warehouse(str(tmp_path))
    warehouse.create_tables()
    future = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=366)
    rows = pa.Table.from_pylist([{"measure": "rows"}], schema=WAREHOUSE["analytics/run_quality"].row_schema)
    for date in (DATE, future):
        warehouse.replace("analytics/run_quality", rows, date, job="screen_cashiers")
    kept = case(1) | {"delete_after": DATE + dt.timedelta(days=90)}
    del kept["business_date"]
    warehouse.replace(CASES, pa.Table.from_pylist([kept], schema=WAREHOUSE[CASES].row_schema), DATE)
    assert [each["case_id"] for each in open_cases(str(tmp_path)).cases] == ["case-1"]
