"""Review cases as files: what a reviewer may see, and the answers.

An exported file does not tell the cashier, an age, a flag or the role of a case.
"""

import csv
import datetime as dt
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pyarrow as pa
from deltalake.exceptions import TableNotFoundError

from jobs.tables.answers import as_text_cell
from jobs.tables.cases import CASES, answered_delete_after
from jobs.tables.warehouse import Warehouse
from model.cli import InputError, TryAgainError

QUESTIONS = ("looks_under_25", "id_seen")
ANSWERS = ("yes", "no", "unclear")
SHOWN = ("case_id", "receipt_id", "store_id", "till_id", "opened_at", "goods", *QUESTIONS)
"""Columns of an exported file."""

MAX_NAME_LENGTH = 100
N_ERRORS_SHOWN = 5

Case = dict[str, Any]
Answers = dict[int, dict[str, str]]
"""By line of the file: `case_id` and the two questions."""


class CaseTable(NamedTuple):
    """The cases of a warehouse that are not due for deletion."""

    warehouse: Warehouse
    cases: list[Case]
    due: set[str]
    """Ids of cases that are due and not deleted yet."""
    newest: dt.date
    """Newest business date of the warehouse."""


def open_cases(uri: str) -> CaseTable:
    """Read the cases.

    Raises:
        InputError: the warehouse has no table of cases, or is from another version of this project.
    """
    warehouse = Warehouse(uri)
    warehouse.check_schemas()
    try:
        cases = warehouse.rows(CASES).to_pylist()
    except TableNotFoundError:
        raise InputError(f"--warehouse {uri} has no table {CASES}; screen_cashiers creates it") from None
    newest = warehouse.newest_date() or dt.date.min
    kept = [case for case in cases if case["delete_after"] >= newest]
    return CaseTable(warehouse, kept, {case["case_id"] for case in cases if case["delete_after"] < newest}, newest)


def of_batch(cases: Iterable[Case], batch: str) -> list[Case]:
    """Return the cases of a batch in the order in which they are shown.

    Raises:
        InputError: there is no such batch.
    """
    chosen = sorted((case for case in cases if case["batch_id"] == batch), key=lambda case: case["shown_order"])
    if not chosen:
        raise InputError(f"--batch {batch!r}: there is no such batch, or its cases are due for deletion")
    return chosen


def is_answered(case: Case) -> bool:
    """Return whether a reviewer has answered a case."""
    return case["reviewer"] is not None


def export_text(cases: Sequence[Case], time_zone: str) -> str:
    """Return cases as CSV text with empty answers.

    Raises:
        InputError: the time zone is not known.
    """
    try:
        zone = ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError):
        raise InputError(f"--time-zone {time_zone!r} is not a known time zone, such as Europe/Berlin") from None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SHOWN)
    for case in cases:
        shown = {**case, "opened_at": case["opened_at"].astimezone(zone).isoformat(), **dict.fromkeys(QUESTIONS, "")}
        writer.writerow([as_text_cell(shown[name]) for name in SHOWN])
    return text.getvalue()


def read_answers(file: Path) -> Answers:
    """Return the answers of a file by line: `case_id` and the two questions, in lower case.

    A spreadsheet may have changed the separator, the line ends and the encoding.

    Raises:
        InputError: the file can't be read, or lacks a column or rows.
    """
    try:
        text = file.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise InputError(f"{file} can't be read: {error}") from None
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restval="")
    wanted = ("case_id", *QUESTIONS)
    if missing := [name for name in wanted if name not in (reader.fieldnames or [])]:
        raise InputError(f"{file} lacks the columns {', '.join(missing)}; found {header.strip()[:200]!r}")
    answers: Answers = {}
    for row in _read(reader, file):
        cells = {name: row[name].strip().lower() for name in wanted}
        if any(cells.values()):
            answers[reader.line_num] = cells
    if not answers:
        raise InputError(f"{file} has no rows")
    return answers


def _read(reader: "csv.DictReader[str]", file: Path) -> Iterator[dict[str, str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise InputError(f"{file}, line {reader.line_num + 1}: {error}") from None


def check_answers(answers: Answers, table: CaseTable) -> list[str]:
    """Return what is wrong in a file, each with line and value; nothing may be imported unless it is empty."""
    known = {case["case_id"]: case for case in table.cases}
    errors, seen = [], Counter[str]()
    for line, row in answers.items():
        case_id = row["case_id"]
        seen[case_id] += 1
        if case_id in table.due:
            errors.append(f"line {line}: case {case_id!r} has expired")
        elif case_id not in known:
            errors.append(f"line {line}: there is no case {case_id!r}")
        elif is_answered(known[case_id]):
            errors.append(f"line {line}: case {case_id!r} is answered already; answers are imported once")
        elif seen[case_id] > 1:
            errors.append(f"line {line}: case {case_id!r} occurs twice")
        for question in QUESTIONS:
            if row[question] not in ANSWERS:
                wanted = f"should be {', '.join(ANSWERS)}"
                errors.append(f"line {line}: {question} is {row[question]!r}; {wanted}")
    batches = {known[case_id]["batch_id"] for case_id in seen if case_id in known}
    for batch in sorted(batches):
        absent = [c["case_id"] for c in of_batch(table.cases, batch) if not is_answered(c) and c["case_id"] not in seen]
        if absent:
            errors.append(f"the file lacks {len(absent)} cases of a batch, such as {absent[0]!r}")
    return errors


def store_answers(table: CaseTable, answers: Answers, reviewer: str, now: dt.datetime) -> int:
    """Store the answers of a file and return the number of batches.

    Args:
        table: the cases.
        answers: from `read_answers`.
        reviewer: name of the reviewer.
        now: time of the decision.

    Raises:
        InputError: the name or an answer is not valid; nothing was stored. Or another writer changed the cases at the
            same time; the message names the business dates whose answers are stored.
    """
    reviewer = reviewer.strip()
    if not (reviewer.isprintable() and 0 < len(reviewer) <= MAX_NAME_LENGTH):
        raise InputError(f"--reviewer {reviewer!r} should be a name of 1 to {MAX_NAME_LENGTH} characters")
    if errors := check_answers(answers, table):
        more = f"; and {len(errors) - N_ERRORS_SHOWN} more" if len(errors) > N_ERRORS_SHOWN else ""
        raise InputError(f"nothing was stored: {'; '.join(errors[:N_ERRORS_SHOWN])}{more}")
    by_case = {row["case_id"]: row for row in answers.values()}
    answered = [case for case in table.cases if case["case_id"] in by_case]
    stored: list[str] = []
    for date in sorted({case["business_date"] for case in answered}):
        change = partial(_answered, newest=table.newest, by_case=by_case, reviewer=reviewer, now=now)
        try:
            table.warehouse.update(CASES, date, change)
        except TryAgainError as error:
            raise InputError(f"{error}; answers stored before: {', '.join(stored) or 'none'}") from None
        stored.append(str(date))
    return len({case["batch_id"] for case in answered})


def _answered(
    rows: pa.Table, newest: dt.date, by_case: Mapping[str, Mapping[str, str]], reviewer: str, now: dt.datetime
) -> pa.Table:
    changed = []
    for case in rows.to_pylist():
        if answer := by_case.get(case["case_id"]):
            if is_answered(case):
                raise InputError(f"case {case['case_id']!r} was answered at the same time; export the open cases again")
            delete_after = answered_delete_after(case["delete_after"], newest, now.date())
            given = {question: answer[question] for question in QUESTIONS}
            changed.append(case | given | {"reviewer": reviewer, "decided_at": now, "delete_after": delete_after})
        else:
            changed.append(case)
    return pa.Table.from_pylist(changed, schema=rows.schema)
