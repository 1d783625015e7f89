"""Review cases: export them for a reviewer, import the answers, and compare the cashier with colleagues.

`list` shows the batches with open cases. `export` writes a CSV file with what a reviewer may see: not the cashier, an
age, a flag or the role of a case. The reviewer looks at each sale and fills in two columns with yes, no or unclear:
`looks_under_25` (does the buyer look younger than 25?) and `id_seen` (was a document shown?). `import` takes the file
back, once. `verdict` then names the cashier and compares the answers. It is no finding: a person decides.

Cases are deleted 30 days after the answer, and at most 90 days after they were drawn.
"""

import dataclasses
import datetime as dt
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, OmitSubcommandPrefixes, Positional, subcommand

from jobs.stats.cases import (
    ATTENTION_CHECK,
    CASHIER,
    COLLEAGUE,
    MIN_CASHIER,
    MIN_COLLEAGUES,
    SIGNIFICANCE,
    p_asked_less_often,
)
from jobs.tables.answers import Answer, render
from jobs.tables.case_files import (
    ANSWERS,
    QUESTIONS,
    Case,
    export_text,
    is_answered,
    of_batch,
    open_cases,
    read_answers,
    store_answers,
)
from jobs.tables.duck import ReadSettings
from jobs.tables.faults import explained
from jobs.tables.private_files import write_private
from jobs.tables.warehouse import Warehouse
from model.cli import InputError, run

MIN_ATTENTION = 0.8
"""Share of attention checks that a careful reviewer judges as not under 25."""

SCREENING = "restricted/cashier_screening"
CAVEAT = "A reason to look at receipts, not a finding. Ages are estimates."
"""Shown if the row of the screening, which has the complete caveat, is deleted."""

DECISION = (
    "This is no finding about the cashier. A person decides what follows, and hears the cashier first. The cases are "
    "some of the sales that led to the review: they show whether its records are right and its buyers look young, not "
    "once more that the cashier asks seldom. A cashier in review by chance mostly differs here too."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListBatches(ReadSettings):
    """List the batches with open cases."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export(ReadSettings):
    """Write the cases of a batch, or all open cases, as CSV for a reviewer."""

    out: Path
    """File to create; only its owner can read it. Delete it when the answers are imported."""
    batch: str = ""
    """Id of a batch."""
    open: FlagCreatePairsOff[bool] = False
    """All batches with open cases."""
    time_zone: str = "UTC"
    """Time zone of opened_at, such as Europe/Berlin."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Import(ReadSettings):
    """Store the answers of a reviewer, once. Nothing is stored unless all answers are valid."""

    file: Positional[Path]
    """Exported file with answers in all rows."""
    reviewer: str
    """Name of the reviewer."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict(ReadSettings):
    """Name the cashier of an answered batch and compare the answers with those for colleagues."""

    batch: str
    """Id of the batch."""


Command = (
    Annotated[ListBatches, subcommand("list")]
    | Annotated[Export, subcommand("export")]
    | Annotated[Import, subcommand("import")]
    | Annotated[Verdict, subcommand("verdict")]
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of the program."""

    command: OmitArgPrefixes[OmitSubcommandPrefixes[Command]]


def list_batches(cases: Sequence[Case]) -> Answer:
    """Return the batches with open cases. Grain: one row per batch; nothing tells the cashier."""
    open_ids = {case["batch_id"] for case in cases if not is_answered(case)}
    rows = []
    for batch in open_ids:
        of_it = of_batch(cases, batch)
        first = of_it[0]
        answered = sum(map(is_answered, of_it))
        rows.append((batch, first["business_date"], first["store_id"], answered, len(of_it), first["delete_after"]))
    columns = ["batch_id", "business_date", "store_id", "n_answered", "n_cases", "delete_after"]
    return Answer(columns=columns, rows=sorted(rows, key=lambda row: (row[1], row[2], row[0])))


def export(settings: Export) -> None:
    """Write the file and print what to do with it."""
    if bool(settings.batch) == settings.open:
        raise InputError("export takes either --batch ID or --open")
    cases = open_cases(settings.warehouse).cases
    batches = [settings.batch] if settings.batch else sorted(row[0] for row in list_batches(cases).rows)
    chosen = [case for batch in batches for case in of_batch(cases, batch) if not is_answered(case)]
    if not chosen:
        raise InputError(f"there are no open cases{f' in batch {settings.batch}' if settings.batch else ''}")
    write_private(settings.out, export_text(chosen, settings.time_zone), overwrite=False)
    print(f"{len(chosen)} cases: {settings.out}. Fill in {' and '.join(QUESTIONS)} with {', '.join(ANSWERS)}.")
    print(f"{CAVEAT} Delete the file when its answers are imported.")


def import_answers(settings: Import) -> None:
    """Store the answers of a file."""
    n_batches = store_answers(
        open_cases(settings.warehouse), read_answers(settings.file), settings.reviewer, dt.datetime.now(dt.UTC)
    )
    print(f"stored the answers of {n_batches} batches; delete {settings.file}")


def comparison(cases: Sequence[Case]) -> Answer:
    """Return how often a document was shown: of all cases, which are tested, and of those judged to look under 25.

    Grain: one row per set of cases. Cases in which it was unclear are left out.
    """
    columns = ["cases", "asked_by_cashier", "of", "asked_by_colleagues", "of_colleagues", "p_value", "result"]
    rows: list[tuple[object, ...]] = []
    for name, chosen in (
        ("all", cases),
        ("judged to look under 25", [case for case in cases if case["looks_under_25"] == "yes"]),
    ):
        seen = Counter((case["role"], case["id_seen"]) for case in chosen)
        asked = seen[CASHIER, "yes"], seen[COLLEAGUE, "yes"]
        of = asked[0] + seen[CASHIER, "no"], asked[1] + seen[COLLEAGUE, "no"]
        p_value: float | None = p_asked_less_often(asked, of)
        result = ""
        if name != "all":  # a second test would double the chance of a false answer
            p_value = None
        elif of[0] < MIN_CASHIER or of[1] < MIN_COLLEAGUES:
            p_value, result = None, "too few sales to compare"
        elif p_value is not None and p_value < SIGNIFICANCE:
            result = "asked less often than colleagues beyond chance"
        else:
            result = "no difference beyond chance"
        figures = (asked[0], of[0], asked[1], of[1])
        rows.append((name, *figures, "" if p_value is None else f"{p_value:.2g}", result))
    return Answer(columns=columns, rows=rows)


def verdict_text(cases: Sequence[Case], caveat: str) -> str:
    """Return the comparison of a completely answered batch in words.

    Raises:
        InputError: a case is not answered.
    """
    batch = cases[0]["batch_id"]
    if n_open := sum(not is_answered(case) for case in cases):
        raise InputError(f"--batch {batch}: {n_open} of {len(cases)} cases are not answered yet")
    cashier_id = next(case["cashier_id"] for case in cases if case["role"] == CASHIER)
    attention = [case["looks_under_25"] == "no" for case in cases if case["role"] == ATTENTION_CHECK]
    unclear = sum(case["id_seen"] == "unclear" for case in cases if case["role"] != ATTENTION_CHECK)
    lines = [
        f"Batch {batch}, screening of {cases[0]['business_date']}, reviewed by {cases[0]['reviewer']}",
        f"Store {cases[0]['store_id']}, cashier {cashier_id} (pseudonym)",
        "",
        f"Attention checks: {sum(attention)} of {len(attention)} older-looking buyers were judged as not under 25",
        f"Unclear whether a document was shown, left out: {unclear}",
    ]
    if sum(attention) < MIN_ATTENTION * len(attention):
        lines.append(
            "The answers are not reliable, so they are not compared. After the batch is deleted (after "
            f"{cases[0]['delete_after']}), a new one is drawn if the cashier is still in review."
        )
    else:
        lines += [
            "",
            render(comparison(cases)),
            "",
            "p_value: Fisher's exact test, one-sided (the cashier asks less often).",
        ]
        lines.append(f"Beyond chance: below {SIGNIFICANCE}.")
    return "\n".join([*lines, "", caveat, DECISION])


def verdict(settings: Verdict) -> None:
    """Print the comparison of a batch."""
    table = open_cases(settings.warehouse)
    cases = of_batch(table.cases, settings.batch)
    print(verdict_text(cases, caveat_of(table.warehouse, cases)))


def caveat_of(warehouse: Warehouse, cases: Sequence[Case]) -> str:
    """Return the caveat of the screening from which a batch was drawn."""
    date, store_id = cases[0]["business_date"], cases[0]["store_id"]
    rows = warehouse.rows(SCREENING, "store_id", "cashier_id", "caveat", first=date, last=date).to_pylist()
    cashiers = {(store_id, case["cashier_id"]) for case in cases if case["role"] == CASHIER}
    caveats = [row["caveat"] for row in rows if (row["store_id"], row["cashier_id"]) in cashiers]
    return next(filter(None, caveats), CAVEAT)


def main(settings: Settings) -> None:
    """Run the command."""
    with explained(settings.command.warehouse):
        match settings.command:
            case ListBatches(warehouse=warehouse):
                print(render(list_batches(open_cases(warehouse).cases)))
            case Export() as command:
                export(command)
            case Import() as command:
                import_answers(command)
            case Verdict() as command:
                verdict(command)


if __name__ == "__main__":
    run(main, Settings)
