"""Rules about what is never written about cashiers and buyers, over schemas, statements, programs and outputs."""

import ast
import datetime as dt
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import sql
from jobs import plot_cashiers, review_cases, screen_cashiers
from jobs.review_cases import Export, ListBatches, Verdict
from jobs.stats.control import control_shift
from jobs.stats.sales import ControlRows
from jobs.tables.answers import Answer, render
from jobs.tables.cashier_schemas import CASHIERS
from jobs.tables.duck import connect, execute
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse

DATES = [dt.date(2026, 11, day) for day in range(1, 4)]
SCREENING, CASES = "restricted/cashier_screening", "restricted/cashier_cases"
PROJECT = Path(__file__).resolve().parents[3]

FORBIDDEN = re.compile(
    r"""\b(?:minors?|underage\w*|under.?18|guilt\w*|fraud\w*|dishonest\w*|violat\w+|offen[cs]e\w*|offend\w*|culprits?"""
    r"""|suspect\w*|suspicious|illegal\w*|criminal\w*|cheat\w*|thie\w+|steal\w*|misconduct|wrongdoing|worst|bad"""
    r"""|ranking of|top offenders|blame\w*|punish\w*|dismiss\w*|sanction\w*)\b""",
    re.IGNORECASE,
)
"""Says that a buyer is a minor, or that a cashier did wrong."""

PROBABILITIES = re.compile(r"p_under|p_check|p_young|p_joint|young_observed|young_expected", re.IGNORECASE)

PROGRAMS = [
    *(PROJECT / "jobs" / f"{name}.py" for name in ("screen_cashiers", "review_cases", "plot_cashiers")),
    *(PROJECT / "jobs" / "tables" / f"{name}.py" for name in ("cases", "case_files", "cashier_counts", "retention")),
]
"""Programs and modules that write tables, files or messages about cashiers."""


@pytest.fixture(scope="module")
def outputs(sell, screen, three_stores):
    """Screen three dates with a cashier in review, self-checkouts and few sales; keep what was printed."""
    few = {"store_id": "store-2", "cashier_id": "cashier-few", "n_sales": 1}
    itself = {"store_id": "store-1", "cashier_id": None}
    warehouse = sell(DATES, [*three_stores(asks=0.1, n_sales=40), few, itself])
    screen(warehouse, DATES)
    return warehouse


@pytest.fixture(scope="module")
def cashier_ids(outputs, read) -> set[str]:
    ids = {row["cashier_id"] for row in read(outputs, SCREENING)}
    assert len(ids) == 13
    return ids


def answers_for_auditors(warehouse: Path) -> dict[str, Answer]:
    """Answer every statement for auditors on the screened warehouse."""
    values = {
        "business_date": DATES[-1],
        "window_days": 28,
        "store_id": "store-0",
        "cashier_id": "cashier-0-0",
    }
    answers = {}
    with connect(str(warehouse), restricted=True) as connection:
        for name in sql.names("auditor"):
            statement = sql.load(name)
            parameters = {key: value for key, value in values.items() if f"${key}" in statement}
            answers[name] = execute(connection, statement, parameters)
    return answers


def constants(source: str) -> list[str]:
    """Return the texts of a program, docstrings included: they are shown by `--help`."""
    return [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


@pytest.mark.parametrize("text", ["a minor", "Under 18", "under_18", "fraud", "3 violations", "guilty", "offences"])
def test_the_word_list_finds_what_it_should(text):
    assert FORBIDDEN.search(text)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_no_text_of_a_program_says_that_someone_did_wrong_or_is_a_minor(path):
    assert [text for text in constants(path.read_text(encoding="utf-8")) if FORBIDDEN.search(text)] == []


@pytest.mark.parametrize("folder", ["auditor", "screening"])
def test_no_statement_says_that_someone_did_wrong_or_is_a_minor(folder):
    names = [*sql.names(folder), "checks/cashier_counts_are_consistent"]
    without_column = {name: sql.load(name).replace("p_under_18_sum", "") for name in names}
    assert {name: FORBIDDEN.findall(text) for name, text in without_column.items() if FORBIDDEN.search(text)} == {}


def test_no_column_about_cashiers_says_that_someone_did_wrong_or_is_a_minor():
    columns = {column for schema in CASHIERS.values() for column in schema.names} - {"p_under_18_sum"}
    assert [column for column in columns if FORBIDDEN.search(column.replace("_", " "))] == []


def test_the_sum_of_p_under_18_is_in_the_counts_only():
    tables = {name for name, schema in CASHIERS.items() if any("under_18" in column for column in schema.names)}
    assert tables == {"restricted/cashier_daily_counts"}


def test_no_value_about_cashiers_says_that_someone_did_wrong_or_is_a_minor(outputs, read):
    names = (SCREENING, "restricted/store_screening", CASES)
    values = {str(value) for name in names for row in read(outputs, name) for value in row.values()}
    assert {value for value in values if FORBIDDEN.search(value)} == set()
    assert any(value.startswith("A reason to look at receipts, not a finding.") for value in values)


def test_cases_contain_no_age_probability_flag_or_photo():
    columns = WAREHOUSE[CASES].schema.names
    assert [name for name in columns if re.search(r"age_|_age|p_|z_|flag|status|photo|path|reason", name)] == []


def test_analytics_has_no_column_about_cashiers():
    columns = {
        column for name, table in WAREHOUSE.items() if name.startswith("analytics/") for column in table.schema.names
    }
    assert [column for column in columns if re.search("cashier|till|checked|under_18|screen", column)] == []


def test_no_file_of_analytics_contains_a_cashier_a_store_or_a_receipt(outputs, file_content, cashier_ids):
    content = file_content(outputs / "analytics")
    assert b"screen_cashiers" in content  # the report
    words = [*cashier_ids, "store-0", "receipt-2026", "review", "watch", "within_limits", "insufficient"]
    assert [word for word in words if word.encode() in content] == []


def test_the_report_has_no_numbers_of_cashiers(outputs, read):
    lines = [row for row in read(outputs, "analytics/run_quality") if row["job"] == "screen_cashiers"]
    assert lines
    assert {line["value"] for line in lines} == {None}
    texts = {line["text"] for line in lines if line["measure"] != "windows_hash"}
    assert texts == {"none"}


def test_the_log_contains_no_cashier_store_receipt_or_number_of_cashiers(outputs, cashier_ids, screen, capfd):
    capfd.readouterr()
    screen(outputs, DATES[-1:])
    printed = "".join(capfd.readouterr())
    assert "screen_cashiers: 2026-11-03" in printed
    words = [*cashier_ids, "store-", "receipt-", "batch-", "case-", "review", "watch", "limits"]
    assert [word for word in words if word in printed] == []
    assert not FORBIDDEN.search(printed)


def test_an_error_of_the_screening_contains_no_cashier(sell, three_stores, screen, monkeypatch, capfd):
    warehouse = sell(DATES[:1], three_stores())

    def fail(*_):
        raise ValueError("the window has no sales")

    monkeypatch.setattr(screen_cashiers.screening, "screen", fail)
    with pytest.raises(ValueError, match="no sales") as error:
        screen(warehouse, DATES[:1])
    assert "cashier-0" not in str(error.value) + "".join(capfd.readouterr())


def test_answers_for_auditors_have_no_probability_of_a_person_and_no_forbidden_word(outputs):
    answers = answers_for_auditors(outputs)
    assert answers["auditor/cashiers_to_look_at"].rows
    assert answers["auditor/cashier_over_time"].rows
    for name, answer in answers.items():
        assert not PROBABILITIES.search(" ".join(answer.columns)), name
        assert not FORBIDDEN.search(render(answer)), name
        assert "caveat" in answer.columns


@pytest.mark.parametrize("statement", [*sql.names("auditor"), *sql.names("screening")])
def test_no_statement_ranks_cashiers(statement):
    text = re.sub(r"--.*", "", sql.load(statement))
    orders = re.findall(r"ORDER BY ([^()]*?)(?:\)|$)", text)
    assert not any(
        re.search(r"\b(?:p_|q_)|ratio|checks|young|tau|status|limit|DESC\b(?<!till_type DESC)", o) for o in orders
    )
    assert not re.search(r"\bRANK|NTILE|\bLIMIT\b|QUALIFY|MIN_BY|MAX_BY", text)


def test_files_and_pages_about_cases_have_no_forbidden_word_age_or_probability(
    *, outputs, cashier_ids, read, tmp_path, capsys
):
    def run(command) -> str:
        capsys.readouterr()
        review_cases.main(review_cases.Settings(command=command))
        return capsys.readouterr().out

    root = str(outputs)
    (batch,) = {case["batch_id"] for case in read(outputs, CASES)}
    out = tmp_path / "cases.csv"
    texts = {"list": run(ListBatches(warehouse=root)), "export": run(Export(warehouse=root, batch=batch, out=out))}
    texts["file"] = out.read_text(encoding="utf-8")
    assert not any(cashier in text for text in texts.values() for cashier in cashier_ids)
    assert not re.search("cashier|colleague|attention|role|flag|status", texts["file"])
    answer = {"reviewer": "R. Meyer", "looks_under_25": "yes", "id_seen": "no"}
    (date,) = {case["business_date"] for case in read(outputs, CASES)}
    Warehouse(root).update(
        CASES, date, lambda rows: pa.Table.from_pylist([row | answer for row in rows.to_pylist()], schema=rows.schema)
    )
    texts["verdict"] = run(Verdict(warehouse=root, batch=batch))
    plot_cashiers.main(plot_cashiers.Settings(warehouse=root, out=tmp_path / "funnel.svg"))
    texts["funnel"] = (tmp_path / "funnel.svg").read_text(encoding="utf-8")
    assert "cashier-0-0" in texts["verdict"]
    assert "cashier-0-0" in texts["funnel"]
    for name, text in texts.items():
        assert not FORBIDDEN.search(text), (name, FORBIDDEN.search(text))
        assert not PROBABILITIES.search(text), name
        assert not re.search(r"age_year|estimated_age|age_years", text), name
    for name in ("verdict", "funnel"):
        assert "not a finding" in texts[name]


def test_young_faces_alone_lead_to_watch_and_not_to_review(sell, screen, read, three_stores):
    warehouse = sell(DATES, three_stores(n_sales=60, oldest_buyer=19))
    screen(warehouse, DATES[-1:])
    rows = [row for row in read(warehouse, SCREENING) if row["cashier_id"] == "cashier-0-0"]
    assert {row["status"] for row in rows} == {"watch"}
    assert all("young_faces" in row["reasons"] for row in rows)


def test_the_guard_makes_buyers_older_and_never_younger():
    rng = np.random.default_rng(0)
    n = rng.integers(1, 300, 200).astype(float)
    means = rng.normal(40, 8, n.size)
    rows = ControlRows(
        cashier=np.arange(n.size),
        place=np.arange(n.size) % 20,
        n=n,
        age_sum=n * means,
        square_sum=n * (means**2 + 15**2),
        n_under_27=n / 4,
        n_under_cap=n / 2,
    )
    control = control_shift(rows, n.size, 20, 1)
    assert (control.shift < -2).any()
    assert (control.shift > 2).any()
    assert control.correction.min() >= 0
