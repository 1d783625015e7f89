import datetime as dt
import json
import math

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from jobs import sample_chain
from jobs.sample.cashiers import KINDS, PLANTED, check_probability, plan_staff
from jobs.sample.receipts import plan_tills
from jobs.sample_chain import Settings, draw_blocks, draw_staff, write_chain
from model.cli import InputError

DAY_ONE = dt.date(2026, 11, 9)
N_DAYS = 28
FLAGS = {"stores": 20, "receipts_per_day": 2000, "cashiers_per_store": 4, "photos": False, "blemishes": False}


def settings(out="unused", **changed):
    return Settings(out=out, **FLAGS | changed)


def days(of, n_days):
    """Return receipts with the truth of some dates."""
    parts = []
    for day in range(n_days):
        for block in draw_blocks(of, DAY_ONE + dt.timedelta(days=day)):
            receipts, checks = block["receipts"].to_pandas(), block["checks"].to_pandas()
            ages = block["ages"].to_pandas().drop_duplicates("receipt_id")[["receipt_id", "true_age"]]
            parts.append(receipts.merge(ages, on="receipt_id").merge(checks, on="receipt_id", how="left"))
            parts[-1]["day"] = day
    return pd.concat(parts)


def cashiers(of):
    staff = draw_staff(of)
    frame = pd.DataFrame({"kind": np.array(KINDS)[staff.kind.ravel()], "check_effect": staff.effect.ravel()})
    frame["cashier_id"] = [f"C{number:04d}" for number in range(len(frame))]
    frame["store"] = np.arange(len(frame)) // of.cashiers_per_store
    return frame


@pytest.fixture(scope="module")
def receipts():
    """The receipts of four weeks; `expected`: the average probability of a check."""
    drawn = days(settings(planted=3), N_DAYS)
    drawn = drawn.merge(cashiers(settings(planted=3)), on="cashier_id", how="left")
    drawn["expected"] = check_probability(drawn["true_age"].to_numpy())
    return drawn


@pytest.fixture(scope="module")
def restricted(receipts):
    return receipts[receipts["id_checked"].notna() & receipts["cashier_id"].notna()]


def within_binomial_limits(n_successes, probability):
    """Tell whether a number of successes is within 4.5 standard deviations of the sum of the probabilities."""
    z = (n_successes - probability.sum()) / math.sqrt((probability * (1 - probability)).sum())
    return abs(z) < 4.5


def test_cashiers_rotate_over_tills_and_shifts(receipts):
    staffed = receipts[(receipts["till_type"] == "staffed") & (receipts["kind"] != "evening_only")]
    shift = ((staffed["opened_at"].dt.hour - 5) // 5).clip(upper=2)
    work = staffed.assign(shift=shift).groupby("cashier_id")
    assert work.ngroups == 20 * 4 - 1
    assert (work["till_id"].nunique() == 3).all()
    assert (work["shift"].nunique() == 3).all()
    per_day = staffed.groupby(["store_id", "till_id", "day"])["cashier_id"].nunique()
    assert per_day.max() > 1


def test_nobody_is_at_two_tills_at_once_or_in_two_stores(receipts):
    staffed = receipts[receipts["till_type"] == "staffed"].sort_values(["cashier_id", "opened_at"])
    before = staffed.groupby("cashier_id")["closed_at"].shift()
    assert (staffed["opened_at"] > before)[before.notna()].all()
    assert staffed.drop_duplicates(["cashier_id", "store_id"])["cashier_id"].is_unique


def test_self_checkouts_have_no_cashier_and_staffed_tills_always_have_one(receipts):
    assert (receipts["cashier_id"].isna() == (receipts["till_type"] == "self")).all()


def test_the_evening_cashier_works_in_the_last_shift_only(receipts):
    evening = receipts[receipts["kind"] == "evening_only"]
    assert len(set(evening["cashier_id"])) == 1
    assert len(evening) > 50
    assert (evening["opened_at"].dt.hour >= 15).all()


def test_honest_cashiers_check_with_their_effect_on_the_log_odds():
    of = settings(check_spread=1)  # with the default, chance would hide that an effect is left out
    drawn = days(of, N_DAYS).merge(cashiers(of), on="cashier_id")
    honest = drawn[drawn["id_checked"].notna() & drawn["kind"].isin(["honest", "evening_only"])]
    average = check_probability(honest["true_age"].to_numpy())
    odds = average / (1 - average) * np.exp(honest["check_effect"])
    probability = odds / (1 + odds)
    for _, of_cashier in honest.groupby("cashier_id"):
        assert within_binomial_limits(of_cashier["id_checked"].sum(), probability[of_cashier.index])
    assert (honest["id_shown"] == honest["id_checked"]).all()


def test_the_effects_have_the_spread_of_the_flag():
    wide = cashiers(settings(stores=400, check_spread=0.4))["check_effect"]
    assert wide.std() == pytest.approx(0.4, abs=0.03)
    assert wide.mean() == pytest.approx(0, abs=0.04)
    assert (cashiers(settings(check_spread=0))["check_effect"] == 0).all()


def test_planted_cashiers_check_as_seldom_as_stated():
    drawn = days(settings(planted=3, check_spread=0), N_DAYS).merge(cashiers(settings(planted=3)), on="cashier_id")
    drawn = drawn[drawn["id_checked"].notna()]
    average = pd.Series(check_probability(drawn["true_age"].to_numpy()), drawn.index)
    is_young = drawn["true_age"] < 30
    expected = {
        "asks_a_tenth": average / 10,
        "minors_unasked": average / 10,
        "unasked_twice": average.where(~is_young, 1 - (2 * (1 - average)).clip(upper=0.9)),
        "marks_without_looking": average,
    }
    for kind, probability in expected.items():
        of_kind = drawn["kind"] == kind
        assert of_kind.sum() > 150
        assert within_binomial_limits(drawn["id_checked"][of_kind].sum(), probability[of_kind])
    unasked = 1 - drawn["id_checked"].astype(float)
    young = is_young & (drawn["kind"] == "unasked_twice")
    assert unasked[young].sum() > 1.4 * (1 - average)[young].sum()


def test_two_kinds_sell_to_minors_and_the_others_hardly_do(restricted):
    is_minor = restricted["true_age"].between(14, 17)
    for kind, share in {"minors_unasked": 1 / 3, "marks_without_looking": 0.1}.items():
        of_kind = restricted["kind"] == kind
        assert within_binomial_limits(is_minor[of_kind].sum(), pd.Series(share, restricted.index[of_kind]))
    others = ~restricted["kind"].isin(["minors_unasked", "marks_without_looking"])
    assert is_minor[others].mean() < 0.005


def test_who_marks_without_looking_sees_no_document_and_checks_no_less_than_average(restricted):
    marked = restricted[restricted["kind"] == "marks_without_looking"]
    assert marked["id_checked"].sum() > 20
    assert not marked["id_shown"].any()
    z = (marked["id_checked"].sum() - marked["expected"].sum()) / math.sqrt(marked["expected"].sum())
    assert z > -4.5


def test_the_truth_about_checks_covers_the_restricted_receipts(receipts):
    assert (receipts["id_shown"].notna() == receipts["id_checked"].notna()).all()


def test_the_campus_store_has_young_shoppers(receipts):
    campus = f"ST{draw_staff(settings(planted=3)).campus:02d}"
    is_student = receipts["true_age"].between(17, 26)
    assert is_student[receipts["store_id"] == campus].mean() > 0.6
    assert is_student[receipts["store_id"] != campus].mean() < 0.2


@pytest.mark.parametrize("seed", range(20))
def test_special_places_and_planted_cashiers_are_in_different_stores(seed):
    of = settings(seed=seed, planted=3)
    staff, special = draw_staff(of), cashiers(of).query("kind != 'honest'")
    stores = [*special["store"], staff.campus, staff.camera]
    assert len(set(stores)) == len(stores) == 3 * len(PLANTED) + 3
    assert special["kind"].value_counts().to_dict() == {"evening_only": 1} | {KINDS[kind]: 3 for kind in PLANTED}
    assert not staff.is_self[0]


def test_a_date_and_the_cashiers_do_not_depend_on_the_number_of_dates(tmp_path):
    for name, n_days in {"short": 1, "long": 2}.items():
        write_chain(settings(tmp_path / name, days=n_days))
    for table in ("receipts", "receipt_lines", "photo_events"):
        file = f"landing/{table}/business_date={DAY_ONE}/part-00000.parquet"
        assert pq.ParquetFile(tmp_path / "short" / file).read().equals(pq.ParquetFile(tmp_path / "long" / file).read())
    short, long = (
        {path.name: path.read_text() for path in (tmp_path / name / "truth").iterdir()} for name in ("short", "long")
    )
    assert short["cashiers.csv"] == long["cashiers.csv"]
    assert short["places.json"] == long["places.json"]
    assert long["checks.csv"].startswith(short["checks.csv"])


def test_the_same_flags_give_the_same_files(tmp_path):
    for name in ("first", "second"):
        write_chain(settings(tmp_path / name, stores=7, receipts_per_day=300, blemishes=True, photos=True))
    files = [
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("first", "second")
    ]
    assert files[0] == files[1]


def test_the_truth_names_every_cashier_and_the_special_places(tmp_path):
    of = settings(tmp_path)
    write_chain(of)
    truth = tmp_path / "truth"
    listed = pd.read_csv(truth / "cashiers.csv")
    assert listed.columns.tolist() == ["store_id", "cashier_id", "kind", "check_effect"]
    assert listed["cashier_id"].is_unique
    assert len(listed) == 20 * 4
    receipts = days(of, 1)
    at_work = receipts.dropna(subset="cashier_id").drop_duplicates(["store_id", "cashier_id"])
    assert len(at_work.merge(listed, on=["store_id", "cashier_id"])) == len(at_work)
    checks = pd.read_csv(truth / "checks.csv")
    assert set(checks["receipt_id"]) == set(receipts.loc[receipts["id_checked"].notna(), "receipt_id"])
    places = json.loads((truth / "places.json").read_text())
    assert places["camera"].keys() == {"store_id", "till_id", "years_too_young"}
    camera = receipts[(receipts["store_id"] == places["camera"]["store_id"]) & (receipts["till_id"] == "T0")]
    assert (camera["till_type"] == "staffed").all()
    assert len(camera) > 10
    assert places["campus"]["store_id"] not in {
        places["camera"]["store_id"],
        *listed.query("kind != 'honest'")["store_id"],
    }


def test_without_cashiers_the_truth_has_no_file_about_them(tmp_path):
    write_chain(settings(tmp_path, cashiers_per_store=0, stores=2, receipts_per_day=100))
    assert {path.name for path in (tmp_path / "truth").iterdir()} == {
        "ages.csv",
        "blemishes.json",
        "category_affinity.csv",
    }
    flags = json.loads((tmp_path / sample_chain.MARKER).read_text())
    assert flags.keys().isdisjoint({"cashiers_per_store", "check_spread", "planted"})


def test_the_photos_of_one_till_show_faces_that_are_too_young(tmp_path, monkeypatch):
    shown = []

    def face_jpeg(age_years, *_):
        shown.append(age_years)
        return b""

    monkeypatch.setattr(sample_chain, "face_jpeg", face_jpeg)
    write_chain(settings(tmp_path, stores=7, receipts_per_day=300, photos=True))
    ages = pd.read_csv(tmp_path / "truth" / "ages.csv", dtype={"photo_id": str}).dropna(subset="photo_id")
    file = tmp_path / "landing" / "receipts" / f"business_date={DAY_ONE}" / "part-00000.parquet"
    ages = ages.merge(pq.ParquetFile(file).read().to_pandas(), on="receipt_id", validate="m:1")
    camera = json.loads((tmp_path / "truth" / "places.json").read_text())["camera"]
    is_wrong = (ages["store_id"] == camera["store_id"]) & (ages["till_id"] == camera["till_id"])
    assert 0 < is_wrong.sum() < 30
    assert (ages["true_age"] - shown).tolist() == np.where(is_wrong, 6, 0).tolist()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cashiers_per_store": 3}, "--cashiers-per-store is 3; it must be 0 or more than the 3 staffed tills"),
        ({"stores": 6}, "--stores is 6; with --planted 1 it must be at least 7"),
        ({"planted": 5}, "--stores is 20; with --planted 5 it must be at least 23"),
    ],
)
def test_too_few_cashiers_or_stores_are_an_error(tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        sample_chain.main(settings(tmp_path / "new", **changed))
    assert not (tmp_path / "new").exists()


def test_a_store_without_spare_cashiers_in_the_day_has_its_evening_cashier_in_the_evening():
    is_self = plan_tills(3, 300).is_self.reshape(3, -1)
    staff = plan_staff(1, is_self, 4, 0.25, 0)
    store, number = (int(index[0]) for index in np.nonzero(staff.kind))
    for day in range(10):
        roster = staff.roster(DAY_ONE + dt.timedelta(days=day), store)
        assert [number in shift for shift in roster.tolist()] == [False, False, True]
        assert all(len(set(shift)) == 4 for shift in roster.tolist())
