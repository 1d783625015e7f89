"""Each job that reads the landing zone fails, or is killed, at each of its writes."""

import functools
import shutil

import pyarrow as pa
import pytest
from pyspark.sql.pandas.types import to_arrow_schema

from jobs import count_purchases, match_receipts, sample_chain, score_photos
from jobs.tables.night import NEEDS
from jobs.tables.warehouse import Warehouse
from tests.jobs.faults.conftest import DATE, make_old
from tests.jobs.faults.states import REPORTS, Rows, differing
from tests.jobs.faults.trials import Trial, check_all

JOBS = {job.__name__.rpartition(".")[2]: job for job in (score_photos, match_receipts, count_purchases)}
CATALOGUE = "restricted/catalogue"
COUNTS = [f"restricted/{name}" for name in count_purchases.COUNTED if name != "catalogue"]
OLD = {
    "score_photos": ["restricted/photo_ages", "restricted/age_errors", "restricted/quarantine:photo_events"],
    "match_receipts": ["restricted/receipt_ages", "restricted/quarantine:receipts", *COUNTS],
    "count_purchases": [*COUNTS, CATALOGUE, "restricted/quarantine:products", "restricted/quarantine:receipt_lines"],
}
"""The tables that each job writes."""


def made_up_scores(_spark, photos: pa.Table, _scorer) -> pa.Table:
    """Score a photo by its path, without a model and without Spark, which only returns scores."""
    scores = [
        {
            "photo_id": photo["photo_id"],
            "age_years": float(len(photo["path"])),
            "status": "scored",
            "scored_on": "here (cpu)",
        }
        for photo in photos.to_pylist()
    ]
    return pa.Table.from_pylist(scores, schema=to_arrow_schema(score_photos.SCORES))


def check_counts(now: Rows, before: Rows) -> None:
    """Counts of other ages are gone before the ages change, so that no window contains them."""
    key = ("restricted/receipt_ages", str(DATE))
    if now.get(key) != before.get(key):
        assert {name for name in COUNTS if (name, str(DATE)) in now} == set()


@pytest.fixture(scope="module")
def trials(model_folder, tmp_path_factory) -> dict[str, Trial]:
    """The jobs in their order; each begins with old rows in the tables that it writes, and all old reports."""
    folder = tmp_path_factory.mktemp("night")
    sample_chain.write_chain(sample_chain.Settings(out=folder / "chain", receipts_per_day=20, stores=2))
    warehouse = folder / "warehouse"
    Warehouse(str(warehouse)).create_tables()
    found: dict[str, Trial] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_photos, "spark_session", lambda _: None)
        patch.setattr(score_photos, "age_scorer", lambda *_: None)
        patch.setattr(score_photos, "score_photos", made_up_scores)
        patch.setattr(score_photos, "check_java", lambda: None)
        for name, job in JOBS.items():
            make_old(warehouse, *OLD[name], *(f"{REPORTS}:{other}" for other in NEEDS))
            flags = {"model": model_folder} if job is score_photos else {}
            settings = job.Settings(
                business_date=DATE, warehouse=str(warehouse), landing=str(folder / "chain" / "landing"), **flags
            )
            run = functools.partial(job.main, settings)
            start = shutil.copytree(warehouse, folder / name)
            trial = Trial(name=name, job=name, date=DATE, start=start, warehouse=warehouse, run=run)
            if job is match_receipts:
                trial.check_more = functools.partial(lambda trial, now: check_counts(now, trial.before), trial)
            found[name] = trial.count()
        yield found


@pytest.mark.parametrize("name", JOBS)
def test_after_a_fault_at_any_write_readers_see_whole_dates_and_a_second_run_ends_well(
    name, trials, everything, capsys
):
    table = check_all(trials[name], everything=everything)
    if everything:
        with capsys.disabled():
            print(f"\n{table}")


@pytest.mark.parametrize("name", JOBS)
def test_the_rows_of_a_clean_run_differ_from_those_before(name, trials):
    """Otherwise nobody would see that a date is half-done."""
    trial = trials[name]
    differs = {key[0] for key in differing(trial.before, trial.clean)}
    written = {point.name.split()[1] for point in trial.points if point.name.startswith("write_deltalake")}
    assert differs == written
