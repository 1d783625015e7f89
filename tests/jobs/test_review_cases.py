"""Review cases from export to verdict, on a warehouse on disk."""

import csv
import datetime as dt
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from jobs.review_cases import Export, Import, ListBatches, Settings, Verdict, main
from jobs.tables import case_files
from jobs.tables.case_files import open_cases
from jobs.tables.cases import CASES
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse
from model.cli import InputError

DATE = dt.date(2026, 11, 9)
CAVEAT = "A reason to look at receipts, not a finding. Ages are estimates. (12 tested)"
GUILT = re.compile(r"guilt|\bminors?\b|under 18|fraud|illegal|offen[cs]e|violat|p_under|suspect", re.IGNORECASE)


def batch_rows(batch: str = "batch-1", cashier_id: str = "c-secret", **changed) -> list[dict]:
    """Return 20 cases of the cashier, 40 of colleagues and 10 attention checks; roles alternate."""
    roles = [*["cashier", "colleague", "colleague"] * 20, *["attention_check"] * 10]
    return [
        {
            "case_id": f"case-{batch}-{number}",
            "batch_id": batch,
            "receipt_id": f"r{number}",
            "store_id": "s1",
            "till_id": "t1",
            "opened_at": dt.datetime(2026, 11, 9, 17, number % 60, tzinfo=dt.UTC),
            "goods": "alcohol",
            "shown_order": 70 - number,
            "role": role,
            "cashier_id": cashier_id if role == "cashier" else None,
            "delete_after": dt.date(2027, 2, 7),
        }
        | changed
        for number, role in enumerate(roles)
    ]


def write(root: Path, name: str, rows: list[dict], date: dt.date = DATE, **part) -> None:
    Warehouse(str(root)).replace(name, pa.Table.from_pylist(rows, schema=WAREHOUSE[name].row_schema), date, **part)


@pytest.fixture
def warehouse(tmp_path) -> Path:
    root = tmp_path / "warehouse"
    Warehouse(str(root)).create_tables()
    write(root, "analytics/run_quality", [{"measure": "rows"}], job="screen_cashiers")
    screened = {"store_id": "s1", "cashier_id": "c-secret", "window_days": 28, "caveat": CAVEAT}
    write(root, "restricted/cashier_screening", [screened])
    write(root, CASES, batch_rows())
    return root


def export(warehouse: Path, out: Path, **flags) -> list[dict]:
    main(Settings(command=Export(warehouse=str(warehouse), out=out, **({"batch": "batch-1"} | flags))))
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


def answers(root: Path, *, cashier_asks: int = 2, colleagues_ask: int = 30, batch: str = "batch-1") -> list[dict]:
    """Answer the exported cases as the truth is: the reviewer judges the older-looking buyers as not under 25."""
    given, left = [], {"cashier": cashier_asks, "colleague": colleagues_ask, "attention_check": 10}
    for case in open_cases(str(root)).cases:
        if case["batch_id"] == batch:
            left[case["role"]] -= 1
            looks = "no" if case["role"] == "attention_check" else "yes"
            asked = "yes" if left[case["role"]] >= 0 else "no"
            given.append({"case_id": case["case_id"], "looks_under_25": looks, "id_seen": asked})
    return given


def save(file: Path, rows: list[dict], delimiter: str = ",") -> Path:
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return file


def import_file(warehouse: Path, file: Path, reviewer: str = "R. Meyer") -> None:
    main(Settings(command=Import(warehouse=str(warehouse), file=file, reviewer=reviewer)))


def verdict(warehouse: Path, capsys, batch: str = "batch-1") -> str:
    capsys.readouterr()
    main(Settings(command=Verdict(warehouse=str(warehouse), batch=batch)))
    return capsys.readouterr().out


def test_an_export_shows_what_a_reviewer_may_see_and_nothing_else(warehouse, tmp_path):
    rows = export(warehouse, tmp_path / "out.csv")
    names = ["case_id", "receipt_id", "store_id", "till_id", "opened_at", "goods", "looks_under_25", "id_seen"]
    assert list(rows[0]) == names
    assert len(rows) == 70
    assert {(row["looks_under_25"], row["id_seen"]) for row in rows} == {("", "")}
    assert [row["receipt_id"] for row in rows] == [f"r{number}" for number in reversed(range(70))]
    text = (tmp_path / "out.csv").read_text()
    assert not re.search(r"c-secret|cashier|colleague|attention|age_|role|flag|2027", text)


def test_an_export_is_readable_by_its_owner_only(warehouse, tmp_path):
    export(warehouse, tmp_path / "out.csv")
    assert oct((tmp_path / "out.csv").stat().st_mode & 0o777) == "0o600"


def test_an_export_never_overwrites_a_file(warehouse, tmp_path):
    (tmp_path / "out.csv").write_text("answers")
    with pytest.raises(InputError, match=r"out\.csv exists; it is not overwritten"):
        export(warehouse, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "answers"
    with pytest.raises(InputError, match=r"nowhere/out\.csv can't be written"):
        export(warehouse, tmp_path / "nowhere" / "out.csv")


def test_all_open_batches_can_be_exported_together(warehouse, tmp_path):
    write(warehouse, CASES, batch_rows("batch-2", "c-other"), DATE - dt.timedelta(3))
    write(warehouse, CASES, batch_rows("batch-3", reviewer="R. Meyer"), DATE - dt.timedelta(4))
    rows = export(warehouse, tmp_path / "out.csv", batch="", open=True)
    assert {row["case_id"].rpartition("-")[0] for row in rows} == {"case-batch-1", "case-batch-2"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"batch": "", "open": False}, "either --batch ID or --open"),
        ({"batch": "batch-1", "open": True}, "either --batch ID or --open"),
        ({"batch": "nope"}, "--batch 'nope': there is no such batch"),
        ({"batch": "answered"}, "no open cases in batch answered"),
    ],
)
def test_a_wrong_choice_of_batches_is_an_error(warehouse, tmp_path, flags, message):
    write(warehouse, CASES, batch_rows("answered", reviewer="R. Meyer"), DATE - dt.timedelta(1))
    with pytest.raises(InputError, match=message):
        export(warehouse, tmp_path / "out.csv", **flags)
    assert not (tmp_path / "out.csv").exists()


def test_the_list_shows_open_batches_without_their_cashier(warehouse, capsys):
    partly = batch_rows("batch-2", "c-other")
    partly[0] |= {"reviewer": "R. Meyer"}
    write(warehouse, CASES, partly, DATE - dt.timedelta(1))
    write(warehouse, CASES, batch_rows("batch-3", reviewer="R. Meyer"), DATE - dt.timedelta(2))
    main(Settings(command=ListBatches(warehouse=str(warehouse))))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["batch-2", "2026-11-08", "s1", "1", "70", "2027-02-07"],
        ["batch-1", "2026-11-09", "s1", "0", "70", "2027-02-07"],
    ]
    assert "c-" not in "".join(lines[2:]).replace("batc-", "")


def test_answers_are_stored_with_reviewer_and_time(warehouse, tmp_path):
    import_file(warehouse, save(tmp_path / "in.csv", answers(warehouse)), reviewer=" R. Meyer ")
    stored = Warehouse(str(warehouse)).rows(CASES).to_pylist()
    assert len(stored) == 70
    assert {case["reviewer"] for case in stored} == {"R. Meyer"}
    assert sum(case["id_seen"] == "yes" for case in stored) == 2 + 30 + 10
    decided_at = stored[0]["decided_at"]
    assert abs(dt.datetime.now(dt.UTC) - decided_at) < dt.timedelta(minutes=5)
    latest = max(decided_at.date(), DATE) + dt.timedelta(30)
    assert {case["delete_after"] for case in stored} == {min(dt.date(2027, 2, 7), latest)}
    unchanged = ("business_date", "case_id", "receipt_id", "role", "cashier_id", "shown_order")
    before = [{"business_date": DATE, **row} for row in batch_rows()]
    assert [[case[name] for name in unchanged] for case in stored] == [
        [row[name] for name in unchanged] for row in before
    ]


def test_a_second_import_of_a_file_fails(warehouse, tmp_path):
    file = save(tmp_path / "in.csv", answers(warehouse))
    import_file(warehouse, file)
    before = Warehouse(str(warehouse)).rows(CASES)
    with pytest.raises(InputError, match=r"line 2: case 'case-batch-1-0' is answered already; .*; and 65 more"):
        import_file(warehouse, file, reviewer="S. Other")
    assert Warehouse(str(warehouse)).rows(CASES).equals(before)


def test_nothing_is_stored_from_a_file_with_an_error(warehouse, tmp_path):
    rows = answers(warehouse)
    rows[3]["id_seen"] = "maybe"
    with pytest.raises(InputError, match=r"^nothing was stored: line 5: id_seen is 'maybe'; should be "):
        import_file(warehouse, save(tmp_path / "in.csv", rows))
    assert set(Warehouse(str(warehouse)).rows(CASES)["reviewer"].to_pylist()) == {None}


def test_of_two_simultaneous_imports_one_fails_and_the_other_is_complete(warehouse, tmp_path, monkeypatch):
    file = save(tmp_path / "in.csv", answers(warehouse))
    answered = case_files._answered

    def import_meanwhile(rows, **values):
        monkeypatch.undo()
        import_file(warehouse, file, reviewer="First")
        return answered(rows, **values)

    monkeypatch.setattr(case_files, "_answered", import_meanwhile)
    with pytest.raises(InputError, match=r"another writer replaced it .*; answers stored before: none"):
        import_file(warehouse, file, reviewer="Second")
    assert set(Warehouse(str(warehouse)).rows(CASES)["reviewer"].to_pylist()) == {"First"}


def test_a_verdict_requires_all_answers(warehouse, capsys):
    with pytest.raises(InputError, match="70 of 70 cases are not answered yet"):
        verdict(warehouse, capsys)


def test_a_verdict_compares_the_cashier_with_colleagues(warehouse, tmp_path, capsys):
    import_file(warehouse, save(tmp_path / "in.csv", answers(warehouse, cashier_asks=2, colleagues_ask=30)))
    text = verdict(warehouse, capsys)
    # Of 60 cases 32 were asked: p = sum of C(20, k) C(40, 32 - k) / C(60, 32) for k = 0, 1, 2.
    assert re.search(
        r"^all +2 +20 +30 +40 +1.6e-06 +asked less often than colleagues beyond chance$", text, re.MULTILINE
    )
    assert "Store s1, cashier c-secret (pseudonym)" in text
    assert "reviewed by R. Meyer" in text
    assert "Attention checks: 10 of 10 older-looking buyers were judged as not under 25" in text
    assert "not reliable" not in text
    assert CAVEAT in text
    assert "A person decides what follows" in text
    assert not GUILT.search(text)


def test_a_verdict_without_a_difference_says_so(warehouse, tmp_path, capsys):
    import_file(warehouse, save(tmp_path / "in.csv", answers(warehouse, cashier_asks=14, colleagues_ask=30)))
    text = verdict(warehouse, capsys)
    assert "no difference beyond chance" in text
    assert "less often than colleagues beyond chance" not in text


def test_a_verdict_counts_unclear_answers_and_failed_attention_checks(warehouse, tmp_path, capsys):
    rows = answers(warehouse)
    rows[0]["id_seen"] = rows[1]["id_seen"] = "unclear"  # of the cashier and of a colleague, both asked
    for row in rows[-3:]:
        row["looks_under_25"] = "yes"
    import_file(warehouse, save(tmp_path / "in.csv", rows))
    text = verdict(warehouse, capsys)
    assert "left out: 2" in text
    assert "7 of 10 older-looking buyers" in text
    assert "The answers are not reliable, so they are not compared." in text
    assert "p_value" not in text


def test_unclear_answers_are_left_out_of_the_comparison(warehouse, tmp_path, capsys):
    rows = answers(warehouse)
    rows[0]["id_seen"] = rows[1]["id_seen"] = "unclear"  # of the cashier and of a colleague, both asked
    import_file(warehouse, save(tmp_path / "in.csv", rows))
    assert re.search(r"^all +1 +19 +29 +39 ", verdict(warehouse, capsys), re.MULTILINE)


def test_a_general_caveat_replaces_a_deleted_one(warehouse, tmp_path, capsys):
    write(warehouse, "restricted/cashier_screening", [])
    import_file(warehouse, save(tmp_path / "in.csv", answers(warehouse)))
    assert "A reason to look at receipts, not a finding." in verdict(warehouse, capsys)


def test_a_warehouse_without_cases_is_an_error(tmp_path):
    with pytest.raises(InputError, match="has no table restricted/cashier_cases"):
        main(Settings(command=ListBatches(warehouse=str(tmp_path))))


def test_the_command_line_has_four_commands(warehouse, tmp_path):
    def run(*arguments: str) -> subprocess.CompletedProcess:
        program = [sys.executable, "-W", "error", "-m", "jobs.review_cases", *arguments]
        environment = {"BREAD_SALT_WAREHOUSE": str(warehouse)}
        return subprocess.run(program, env=environment, capture_output=True, text=True, check=False)

    listed = run("list")
    assert listed.returncode == 0, listed.stderr
    assert "batch-1" in listed.stdout
    exported = run("export", "--open", "--out", str(tmp_path / "out.csv"))
    assert "70 cases" in exported.stdout, exported.stderr
    file = save(tmp_path / "in.csv", answers(warehouse))
    imported = run("import", str(file), "--reviewer", "R. Meyer")
    assert "stored the answers of 1 batches" in imported.stdout, imported.stderr
    assert "cashier c-secret" in run("verdict", "--batch", "batch-1").stdout
    again = run("import", str(file), "--reviewer", "R. Meyer")
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert again.stderr.startswith("error: nothing was stored: line 2: ")
