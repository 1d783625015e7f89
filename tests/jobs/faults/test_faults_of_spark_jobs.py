"""Each job with Spark fails, or is killed, at each of its writes.

Without `--all-points`, a job is run once, and its writes are repeated with the rows that Spark has computed.
"""

import dataclasses
import functools
import shutil

import pytest
from pyspark.sql import functions as F

from jobs import count_purchases, match_receipts, sample_chain, score_photos
from jobs.tables.night import NEEDS
from jobs.tables.warehouse import Warehouse
from tests.jobs.faults.conftest import DATE, make_old
from tests.jobs.faults.recording import Recording
from tests.jobs.faults.states import REPORTS, Rows, differing
from tests.jobs.faults.trials import Trial, check_all

JOBS = {job.__name__.rpartition(".")[2]: job for job in (score_photos, match_receipts, count_purchases)}
COUNTS = [f"restricted/{name}" for name in (*count_purchases.BASKET_COUNTS, *count_purchases.CASHIER_COUNTS)]
OLD = {
    "score_photos": ["restricted/photo_ages", "restricted/age_errors", "restricted/quarantine:photo_events"],
    "match_receipts": ["restricted/receipt_ages", "restricted/quarantine:receipts", *COUNTS],
    "count_purchases": [
        *COUNTS,
        "restricted/catalogue",
        "restricted/quarantine:products",
        "restricted/quarantine:receipt_lines",
    ],
}
"""The tables that each job writes."""


def made_up_scorer(*_):
    """Score a photo by its path, without a model and without Python workers."""
    fields = score_photos.SCORE.names
    values = {"age_years": F.length("path").cast("double"), "status": F.lit("scored")}
    types = {"status": "string", "reason": "string", "detail": "string"}
    columns = [values.get(name, F.lit(None).cast(types.get(name, "double"))).alias(name) for name in fields]
    return lambda _: F.struct(*columns)


def check_counts(now: Rows, before: Rows) -> None:
    """Counts of other ages are gone before the ages change, so that no window contains them."""
    key = ("restricted/receipt_ages", str(DATE))
    if now.get(key) != before.get(key):
        assert {name for name in COUNTS if (name, str(DATE)) in now} == set()


@pytest.fixture(scope="module")
def trials(spark, model_folder, tmp_path_factory, everything) -> dict[str, Trial]:
    """The jobs in their order; each begins with old rows in the tables that it writes, and all old reports."""
    folder = tmp_path_factory.mktemp("spark_jobs")
    sample_chain.write_chain(sample_chain.Settings(out=folder / "chain", receipts_per_day=20, stores=2))
    warehouse = folder / "warehouse"
    Warehouse(str(warehouse)).create_tables()
    found: dict[str, Trial] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_photos, "age_scorer", made_up_scorer)
        for name, job in JOBS.items():
            make_old(warehouse, *OLD[name], *(f"{REPORTS}:{other}" for other in NEEDS))
            flags = {"model": model_folder} if job is score_photos else {}
            settings = job.Settings(
                business_date=DATE, warehouse=str(warehouse), landing=str(folder / "chain" / "landing"), **flags
            )

            def run(job=job, settings=settings):
                try:
                    job.main(settings)
                finally:
                    spark.catalog.clearCache()  # as at the end of a process

            start = shutil.copytree(warehouse, folder / name)
            trial = Trial(name=name, job=name, date=DATE, start=start, warehouse=warehouse, run=run)
            if job is match_receipts:
                trial.check_more = functools.partial(lambda trial, now: check_counts(now, trial.before), trial)
            recording = Recording.of(trial.count)
            found[name] = trial
            if not everything:
                repeated = dataclasses.replace(trial, run=functools.partial(recording.repeat, settings, name)).count()
                assert (repeated.points, repeated.clean) == (trial.points, trial.clean)
                found[name] = repeated
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
