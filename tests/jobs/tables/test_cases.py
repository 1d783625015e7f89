"""Review cases in the warehouse."""

import datetime as dt
from functools import partial

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from jobs.stats.cases import draw_batch
from jobs.tables.cases import CASES, UNITS, answered_delete_after, draw_cases
from jobs.tables.duck import register_tables
from jobs.tables.schemas import WAREHOUSE

SALES = "restricted/age_restricted_sales"
DATE = dt.date(2026, 11, 9)
NO_CASES = WAREHOUSE[CASES].row_schema.empty_table()


def sale(number: int, *, store_id="s1", cashier_id="c1", age_years=20.0, business_date=DATE) -> dict:
    opened_at = dt.datetime(2026, 11, 9, 8, tzinfo=dt.UTC) + dt.timedelta(minutes=number)
    ids = {"receipt_id": f"{store_id}-{number}", "till_id": f"t{number % 4}"}
    hour = {"opened_at": opened_at, "hour": opened_at.hour, "goods": "alcohol"}
    return (
        {"store_id": store_id, "cashier_id": cashier_id, "age_years": age_years}
        | ids
        | hour
        | {"business_date": business_date}
    )


def ordinary_store(store_id: str = "s1") -> list[dict]:
    """Return 30 young-looking buyers of cashiers c1, c2 and c3 each, and 20 older ones of c2."""
    young = [sale(number, store_id=store_id, cashier_id=f"c{1 + number % 3}") for number in range(90)]
    return young + [sale(90 + number, store_id=store_id, cashier_id="c2", age_years=55.0) for number in range(20)]


def draw(
    sales: list[dict],
    in_review=(("s1", "c1"),),
    *,
    existing: pa.Table = NO_CASES,
    stored: pa.Table | None = None,
    shifts: dict | None = None,
    **changed,
) -> pa.Table:
    """Draw cases from small tables; `stored` are the cases of the warehouse, `existing` those of the date."""
    tables = {
        SALES: pa.Table.from_pylist(sales, schema=WAREHOUSE[SALES].schema),
        CASES: stored or WAREHOUSE[CASES].schema.empty_table(),
    }
    units = [
        {"store_id": store_id, "cashier_id": cashier_id, "age_shift_years": shift}
        for (store_id, cashier_id), shift in (shifts or {}).items()
    ]
    settings = {"business_date": DATE, "dates": [DATE], "as_of": DATE} | changed
    with duckdb.connect() as connection:
        register_tables(connection, tables)
        return draw_cases(
            connection,
            **settings,
            in_review=in_review,
            units=pa.Table.from_pylist(units, schema=UNITS),
            existing=existing,
            draw=partial(draw_batch, rng=np.random.default_rng(1)),
        )


def stored(cases: pa.Table, business_date: dt.date = DATE) -> pa.Table:
    dates = pa.repeat(pa.scalar(business_date), len(cases))
    return cases.append_column("business_date", dates).select(WAREHOUSE[CASES].schema.names)


def roles(cases: pa.Table) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in cases["role"].value_counts().to_pylist()}


def test_a_batch_has_random_ids_and_a_shown_order():
    cases = draw(ordinary_store(), in_review=[("s1", "c1"), ("s1", "c2")])
    rows = cases.to_pylist()
    assert len({row["case_id"] for row in rows}) == len(rows) == 140
    assert len({row["batch_id"] for row in rows}) == 2
    for batch in {row["batch_id"] for row in rows}:
        of_batch = [row for row in rows if row["batch_id"] == batch]
        assert [row["shown_order"] for row in of_batch] == list(range(1, 71))
        assert len({row["receipt_id"] for row in of_batch}) == 70
    again = draw(ordinary_store())
    assert not set(again["case_id"].to_pylist()) & set(cases["case_id"].to_pylist())  # though the seed is the same


def test_only_cases_of_the_cashier_name_the_cashier():
    cases = draw(ordinary_store())
    assert roles(cases) == {"cashier": 20, "colleague": 40, "attention_check": 10}
    assert {(row["role"], row["cashier_id"]) for row in cases.to_pylist()} == {
        ("cashier", "c1"),
        ("colleague", None),
        ("attention_check", None),
    }


def test_new_cases_are_not_answered_and_are_deleted_after_90_days():
    (row, *_) = draw(ordinary_store()).to_pylist()
    assert [row[name] for name in ("reviewer", "looks_under_25", "id_seen", "decided_at")] == [None] * 4
    assert row["delete_after"] == dt.date(2027, 2, 7)
    assert "age_years" not in row


def test_cases_are_never_from_another_store_or_another_window():
    other_date = [sale(500 + number, business_date=DATE - dt.timedelta(1)) for number in range(30)]
    cases = draw([*ordinary_store(), *ordinary_store("s2"), *other_date])
    assert set(cases["store_id"].to_pylist()) == {"s1"}
    assert {int(receipt.partition("-")[2]) < 500 for receipt in cases["receipt_id"].to_pylist()} == {True}


def test_a_cashier_of_the_same_id_in_another_store_is_another_cashier():
    cases = draw([*ordinary_store(), *ordinary_store("s2")], in_review=[("s2", "c1")])
    assert set(cases["store_id"].to_pylist()) == {"s2"}


def test_ages_are_corrected_for_each_cashier():
    sales = [sale(number, cashier_id="c1", age_years=24.0) for number in range(30)]
    sales += [sale(100 + number, cashier_id="c2", age_years=24.0) for number in range(30)]
    sales += [sale(200 + number, cashier_id="c3", age_years=24.0) for number in range(12)]
    assert roles(draw(sales, shifts={("s1", "c2"): -4.0})) == {"cashier": 20, "colleague": 12}
    assert roles(draw(sales, shifts={("s1", "c1"): -4.0})) == {}


def test_a_store_without_colleagues_has_no_cases():
    assert roles(draw([sale(number) for number in range(15)])) == {}


def test_a_cashier_without_young_looking_buyers_has_no_batch():
    assert len(draw([sale(number, age_years=50.0) for number in range(15)])) == 0
    assert len(draw([])) == 0


def test_a_second_run_of_a_date_keeps_cases_and_answers():
    first = draw(ordinary_store())
    rows = first.to_pylist()
    rows[0] |= {"reviewer": "R. Meyer", "looks_under_25": "yes", "id_seen": "no", "delete_after": dt.date(2026, 12, 9)}
    answered = pa.Table.from_pylist(rows, schema=first.schema)
    assert draw(ordinary_store(), existing=answered).equals(answered)
    # Although the cashier is no longer in review.
    assert draw(ordinary_store(), existing=answered, in_review=()).equals(answered)


@pytest.mark.parametrize("days", [-7, 7])
def test_a_cashier_with_an_open_batch_of_another_date_gets_no_new_batch(days):
    other = stored(draw(ordinary_store()), DATE + dt.timedelta(days))
    new = draw(ordinary_store(), stored=other, in_review=[("s1", "c1"), ("s1", "c3")])
    assert {row["cashier_id"] for row in new.to_pylist()} == {None, "c3"}


def test_a_cashier_gets_a_new_batch_when_the_cases_of_the_old_one_are_due():
    first = stored(draw(ordinary_store()), DATE - dt.timedelta(91))
    rows = [{**row, "delete_after": DATE - dt.timedelta(1)} for row in first.to_pylist()]
    due = pa.Table.from_pylist(rows, schema=first.schema)
    assert len(draw(ordinary_store(), stored=due)) == 70


def test_no_case_is_drawn_that_is_already_due():
    assert len(draw(ordinary_store(), as_of=DATE + dt.timedelta(90))) == 70
    assert len(draw(ordinary_store(), as_of=DATE + dt.timedelta(91))) == 0


def test_an_answered_case_is_kept_for_30_days_and_at_most_90_in_all():
    due = dt.date(2027, 2, 7)
    assert answered_delete_after(due, DATE, dt.date(2026, 11, 20)) == dt.date(2026, 12, 20)
    assert answered_delete_after(due, DATE, dt.date(2027, 1, 20)) == due
    # Test data may have later dates than the clock.
    assert answered_delete_after(due, DATE, dt.date(2020, 1, 1)) == dt.date(2026, 12, 9)
