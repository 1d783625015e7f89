"""`screen_cashiers` on real tables without Spark: rows, reasons, gaps in the input and wrong settings."""

import datetime as dt

import pyarrow as pa
import pytest

from jobs.tables.warehouse import Warehouse

DATES = [dt.date(2026, 11, day) for day in range(1, 4)]
SCREENING, STORES, CASES = (f"restricted/{name}" for name in ("cashier_screening", "store_screening", "cashier_cases"))
PLANTED = {"asks": 0.1, "n_sales": 40}
CAVEAT = (
    "A reason to look at receipts, not a finding. Ages are estimates. Other explanations: camera, clientele, regular "
    "customers, a check that was not recorded, training, chance (12 tested, about 0.4 of them on watch by chance)."
)
P_VALUES = ("p_check", "p_young", "q_value")


def reports(read, warehouse) -> dict[dt.date, dict[str, str]]:
    """Return what `screen_cashiers` reported of each date, without the hash."""
    texts: dict[dt.date, dict[str, str]] = {}
    for row in read(warehouse, "analytics/run_quality"):
        if row["job"] == "screen_cashiers" and row["measure"] != "windows_hash":
            texts.setdefault(row["business_date"], {})[row["measure"]] = row["text"]
    return texts


def of(rows: list[dict], **values) -> list[dict]:
    return [row for row in rows if all(row[name] == value for name, value in values.items())]


@pytest.fixture(scope="module")
def screened(sell, screen, three_stores):
    """Three dates; one cashier asks seldom, one has 3 sales, and there are self-checkouts."""
    few = {"store_id": "store-2", "cashier_id": "cashier-few", "n_sales": 1, "n_control": 20}
    itself = {"store_id": "store-1", "cashier_id": None, "n_sales": 7, "n_control": 3}
    warehouse = sell(DATES, [*three_stores(**PLANTED), few, itself])
    screen(warehouse, DATES)
    return warehouse


@pytest.fixture(scope="module")
def rows(screened, read) -> list[dict]:
    """The screening of the last date in the window of 28 days."""
    return of(read(screened, SCREENING), business_date=DATES[-1], window_days=28)


def test_planted_cashier_reaches_review_with_a_reason_and_others_do_not(rows):
    assert [row["cashier_id"] for row in of(rows, status="review")] == ["cashier-0-0"]
    (planted,) = of(rows, cashier_id="cashier-0-0")
    assert "few_checks" in planted["reasons"]
    assert planted["n_restricted"] == planted["n_with_photo"] == 120
    assert planted["checks_made"] < planted["limit_low_998"] < planted["limit_low_95"] < planted["checks_expected"]
    assert planted["checks_ratio_shrunk"] < planted["ratio_high"] < 1


def test_each_cashier_has_one_row_per_window_and_date(screened, read):
    keys = [
        (row["business_date"], row["window_days"], row["store_id"], row["cashier_id"])
        for row in read(screened, SCREENING)
    ]
    assert len(keys) == len(set(keys)) == 3 * 2 * 13


def test_windows_say_how_many_dates_they_contain(screened, read):
    days = {(row["business_date"], row["window_days"], row["n_days"]) for row in read(screened, SCREENING)}
    assert days == {(date, window, number) for number, date in enumerate(DATES, 1) for window in (7, 28)}


def test_cashier_with_few_sales_has_insufficient_data_and_no_p_values(rows):
    (few,) = of(rows, cashier_id="cashier-few")
    assert (few["status"], few["n_restricted"]) == ("insufficient_data", 3)
    assert [few[name] for name in P_VALUES] == [None] * 3
    assert few["checks_ratio_shrunk"] is few["limit_low_95"] is few["detectable_ratio"] is None
    others = [row for row in rows if row is not few]
    assert all(row[name] is not None for row in others for name in P_VALUES)


def test_each_row_has_the_caveat_with_the_number_of_tested_cashiers(screened, read):
    written = read(screened, SCREENING) + read(screened, STORES)
    assert {row["n_tested"] for row in read(screened, SCREENING)} == {12}
    assert {row["caveat"] for row in written} == {CAVEAT}
    assert {row["model_version"] for row in written} == {"model1"}


def test_self_checkouts_are_in_store_screening_only(screened, read, rows):
    assert None not in {row["cashier_id"] for row in rows}
    stores = of(read(screened, STORES), business_date=DATES[-1], window_days=28)
    assert sorted((row["store_id"], row["till_type"]) for row in stores) == [
        ("store-0", "staffed"),
        ("store-1", "self"),
        ("store-1", "staffed"),
        ("store-2", "staffed"),
    ]
    (itself,) = of(stores, till_type="self")
    assert (itself["n_cashiers"], itself["n_restricted"], itself["checks_ratio_shrunk"]) == (0, 21, None)
    (staffed,) = of(stores, store_id="store-1", till_type="staffed")
    assert (staffed["n_cashiers"], staffed["n_restricted"]) == (4, 4 * 3 * 20)


def test_batch_is_drawn_once_and_not_again_on_the_next_date(screened, read):
    cases = read(screened, CASES)
    assert len({case["batch_id"] for case in cases}) == 1
    (date,) = {case["business_date"] for case in cases}
    reviewed = {row["business_date"] for row in of(read(screened, SCREENING), status="review")}
    assert date == min(reviewed)
    assert reviewed == set(DATES[1:])
    assert {case["cashier_id"] for case in cases} == {"cashier-0-0", None}
    assert {case["store_id"] for case in cases} == {"store-0"}
    roles = [case["role"] for case in cases]
    assert 0 < roles.count("cashier") <= 20
    assert "colleague" in roles


def test_cases_of_the_cashier_were_sold_by_the_cashier(screened, read):
    sellers = {sale["receipt_id"]: sale["cashier_id"] for sale in read(screened, "restricted/age_restricted_sales")}
    for case in read(screened, CASES):
        seller = sellers[case["receipt_id"]]
        assert case["role"] == "attention_check" or (seller == "cashier-0-0") == (case["role"] == "cashier")


def test_date_without_restricted_sales_is_reported_and_leaves_no_rows(sell, screen, read, three_stores):
    warehouse = sell(DATES[:1], [seller | {"n_sales": 0} for seller in three_stores()])
    screen(warehouse, DATES[:1])
    assert read(warehouse, SCREENING) == read(warehouse, STORES) == read(warehouse, CASES) == []
    obstacle = "no_restricted_sales"
    assert reports(read, warehouse) == {DATES[0]: {"obstacle_7_days": obstacle, "obstacle_28_days": obstacle}}


def test_nobody_is_screened_without_control_receipts(sell, screen, read, three_stores):
    warehouse = sell(DATES[:1], [seller | {"n_control": 0} for seller in three_stores(**PLANTED)])
    screen(warehouse, DATES[:1])
    assert read(warehouse, SCREENING) == read(warehouse, STORES) == read(warehouse, CASES) == []
    assert set(reports(read, warehouse)[DATES[0]].values()) == {"no_control"}


def test_empty_date_is_reported(sell, screen, read):
    warehouse = sell(DATES[:1], [{"n_sales": 0, "n_control": 0}])
    screen(warehouse, DATES[:1])
    assert set(reports(read, warehouse)[DATES[0]].values()) == {"no_restricted_sales"}


def test_date_without_restricted_sales_is_screened_in_the_window_of_the_dates_before(sell, screen, read, three_stores):
    warehouse = sell(DATES[:1], three_stores(**PLANTED))
    sell(DATES[1:2], [seller | {"n_sales": 0} for seller in three_stores()], warehouse)
    screen(warehouse, DATES[1:2])
    assert set(reports(read, warehouse)[DATES[1]].values()) == {"none"}
    assert {(row["n_days"], row["n_restricted"]) for row in read(warehouse, SCREENING)} == {(2, 20), (2, 40)}


def test_unknown_checks_are_counted_and_named_but_not_screened(sell, screen, read, three_stores):
    warehouse = sell(DATES[:2], three_stores(unknown=0.5, n_sales=60))
    screen(warehouse, DATES[1:2], screening_days=(7,))
    (gaps,) = of(read(warehouse, SCREENING), cashier_id="cashier-0-0")
    assert "checks_not_recorded" in gaps["reasons"]
    assert gaps["n_restricted"] == 120
    assert 30 < gaps["n_check_unknown"] < 90
    assert gaps["n_with_photo"] == 120 - gaps["n_check_unknown"]
    assert gaps["photo_share"] == 1
    assert gaps["status"] not in ("watch", "review")  # an unknown check is not a missing one
    others = [row for row in read(warehouse, SCREENING) if row is not gaps and row["cashier_id"] != "cashier-0-0"]
    assert not any("checks_not_recorded" in row["reasons"] or row["n_check_unknown"] for row in others)


def without_unknown_checks(counts: pa.Table) -> pa.Table:
    """Remove the sales with an unknown check from the counts."""
    rows = []
    for row in counts.to_pylist():
        known = row["n_receipts"] - row["n_check_unknown"]
        scaled = row["p_under_18_sum"] * known / row["n_receipts"]
        if known:
            photos = min(row["n_with_photo"], known)
            rows.append(
                row | {"n_receipts": known, "n_with_photo": photos, "n_check_unknown": 0, "p_under_18_sum": scaled}
            )
    return pa.Table.from_pylist(rows, schema=counts.schema)


def test_statistics_are_those_without_the_sales_with_an_unknown_check(sell, screen, read, three_stores):
    statistics = []
    for change in (lambda counts: counts, without_unknown_checks):
        warehouse = sell(DATES[:1], [seller | {"unknown": 0.3} for seller in three_stores(**PLANTED)])
        Warehouse(str(warehouse)).update("restricted/cashier_daily_counts", DATES[0], change)
        screen(warehouse, DATES[:1], screening_days=(7,))
        gaps = ("n_restricted", "n_check_unknown", "photo_share", "reasons")
        rows = sorted(read(warehouse, SCREENING), key=lambda row: row["cashier_id"])
        assert sum(row["n_check_unknown"] for row in rows) == (0 if statistics else pytest.approx(78, abs=25))
        statistics.append([{name: value for name, value in row.items() if name not in gaps} for row in rows])
    assert statistics[0] == [pytest.approx(row) for row in statistics[1]]


def test_cashier_without_any_recorded_check_has_insufficient_data(sell, screen, read, three_stores):
    warehouse = sell(DATES[:1], three_stores(unknown=1.0))
    screen(warehouse, DATES[:1], screening_days=(7,))
    (gaps,) = of(read(warehouse, SCREENING), cashier_id="cashier-0-0")
    assert (gaps["n_with_photo"], gaps["n_check_unknown"], gaps["status"]) == (0, 20, "insufficient_data")
    assert gaps["reasons"] == ["few_expected_checks", "checks_not_recorded"]
    assert (gaps["checks_made"], gaps["checks_expected"], gaps["checks_ratio"]) == (0, 0, None)


def test_cashier_in_two_stores_has_a_row_in_each(sell, screen, read, three_stores):
    both = {"cashier_id": "cashier-0-0", "store_id": "store-1", "n_sales": 33}
    warehouse = sell(DATES[:2], [*three_stores(**PLANTED), both])
    screen(warehouse, DATES[1:2], screening_days=(7,))
    rows = of(read(warehouse, SCREENING), cashier_id="cashier-0-0")
    by_store = {row["store_id"]: (row["n_restricted"], row["status"]) for row in rows}
    assert by_store["store-0"] == (80, "review")
    assert by_store["store-1"][0] == 66
    assert by_store["store-1"][1] != "review"
    assert {case["store_id"] for case in read(warehouse, CASES)} == {"store-0"}


def test_cashier_without_colleagues_is_compared_with_the_chain_and_has_the_reason(sell, screen, read, three_stores):
    alone = {"store_id": "store-alone", "cashier_id": "cashier-alone"}
    warehouse = sell(DATES[:2], [*three_stores(), alone])
    screen(warehouse, DATES[1:2], screening_days=(7,))
    rows = read(warehouse, SCREENING)
    assert [row["cashier_id"] for row in rows if "no_colleagues" in row["reasons"]] == ["cashier-alone"]
    assert all(row["p_check"] is not None for row in rows)


def test_chain_of_one_cashier_is_screened_without_failure(sell, screen, read):
    warehouse = sell(DATES[:1], [{"n_sales": 40}])
    screen(warehouse, DATES[:1], screening_days=(7,))
    (row,) = read(warehouse, SCREENING)
    assert row["reasons"] == ["no_colleagues"]
    assert row["status"] == "within_limits"


def test_cashiers_who_all_ask_alike_have_no_spread(sell, screen, read, three_stores):
    warehouse = sell(DATES[:1], [seller | {"asks": 1.0} for seller in three_stores()])
    screen(warehouse, DATES[:1], screening_days=(7,))
    rows = read(warehouse, SCREENING)
    assert {(row["tau"], row["tau_store"]) for row in rows} == {(0.0, 0.0)}
    assert {row["status"] for row in rows} == {"within_limits"}


def test_where_nobody_is_asked_the_data_are_insufficient_and_the_reason_says_so(sell, screen, read, three_stores):
    warehouse = sell(DATES[:1], [seller | {"asks": 0.0} for seller in three_stores()])
    screen(warehouse, DATES[:1], screening_days=(7,))
    rows = read(warehouse, SCREENING)
    assert {(row["status"], *row["reasons"]) for row in rows} == {("insufficient_data", "few_expected_checks")}


def test_cashier_without_restricted_sales_has_no_row(sell, screen, read, three_stores):
    warehouse = sell(DATES[:1], [*three_stores(), {**three_stores()[0], "cashier_id": "baker", "n_sales": 0}])
    screen(warehouse, DATES[:1], screening_days=(7,))
    cashiers = {row["cashier_id"] for row in read(warehouse, SCREENING)}
    assert "baker" not in cashiers
    assert "cashier-0-0" in cashiers


def test_store_with_self_checkouts_only_is_a_store_like_others(sell, screen, read, three_stores):
    last = {**three_stores()[0], "store_id": "store-9", "cashier_id": None}
    warehouse = sell(DATES[:1], [*three_stores(), last])
    screen(warehouse, DATES[:1], screening_days=(7,))
    assert ("store-9", "self", 0) in {
        (row["store_id"], row["till_type"], row["n_cashiers"]) for row in read(warehouse, STORES)
    }
    assert "store-9" not in {row["store_id"] for row in read(warehouse, SCREENING)}


def test_window_contains_only_dates_of_the_last_dates_model(sell, screen, read, three_stores):
    warehouse = sell(DATES, three_stores())
    sell(DATES[:2], three_stores(), warehouse, model_version="older")
    screen(warehouse, DATES[1:])
    days = {
        (row["business_date"], row["model_version"], row["n_days"], row["n_restricted"])
        for row in read(warehouse, SCREENING)
    }
    assert days == {(DATES[1], "older", 2, 40), (DATES[2], "model1", 1, 20)}


def test_report_says_only_which_counts_were_screened_and_what_prevented_it(screened, read):
    measures = {row["measure"] for row in read(screened, "analytics/run_quality") if row["job"] == "screen_cashiers"}
    assert measures == {"windows_hash", "obstacle_7_days", "obstacle_28_days"}


def test_settings_of_blocks_and_thresholds_reach_the_screening(sell, screen, read, three_stores):
    warehouse = sell(DATES[:1], three_stores(**PLANTED))
    flags = {"screening_days": (1,), "hour_blocks": (0,), "min_sales": 21, "review_sales": 41}
    screen(warehouse, DATES[:1], **flags)
    rows = read(warehouse, SCREENING)
    assert {row["window_days"] for row in rows} == {1}
    assert {row["cashier_id"]: row["status"] for row in rows if row["status"] != "insufficient_data"} == {
        "cashier-0-0": "watch"
    }
