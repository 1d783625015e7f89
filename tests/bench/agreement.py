"""Check that a peer has computed what the nightly jobs have written."""

from pathlib import Path

import duckdb
from deltalake import DeltaTable

MAX_AGE_DIFFERENCE = 0.1
"""Years. Ages are written with two decimals, and batches of another size change the last digits of the network."""

MIN_AGE_SPREAD = 1.0
"""Years, standard deviation. Nearly equal ages would agree whatever photos they belong to."""

KEYS = {
    "receipt_ages": "receipt_id, store_id, till_id, n_photos, photo_ids",
    "daily_counts": "age_year, level, item, n_receipts",
}
FIGURES = {"receipt_ages": ("age_years", "p_under_18", "p_under_25"), "daily_counts": ("quantity", "amount")}


class DisagreementError(Exception):
    """A peer has other rows than a job."""


def check_ages(warehouse: Path, peer: Path) -> None:
    """Check that a peer has an age for each photo that a job has scored, and the same one within 0.1 year.

    Args:
        warehouse: of the job.
        peer: folder of Parquet files with `photo_id, age_years`.

    Raises:
        DisagreementError: another set of photos, or other ages.
    """
    with duckdb.connect() as connection:
        jobs = job_rows(connection, warehouse, "photo_ages").filter("status = 'scored'")
        peers = connection.read_parquet(f"{peer}/**/*.parquet")
        pairs = jobs.set_alias("jobs").join(peers.set_alias("peers"), "jobs.photo_id = peers.photo_id", how="outer")
        n_pairs, n_jobs, n_peers, difference, spread = pairs.aggregate(
            "COUNT(*), COUNT(jobs.age_years), COUNT(peers.age_years), "
            "MAX(ABS(jobs.age_years - peers.age_years)), STDDEV_POP(jobs.age_years)"
        ).fetchall()[0]
    if not n_pairs == n_jobs == n_peers or not n_pairs:
        raise DisagreementError(f"{n_jobs} photos of {warehouse} and {n_peers} of {peer} have an age, {n_pairs} in all")
    if spread < MIN_AGE_SPREAD:
        raise DisagreementError(f"the ages of {warehouse} have a spread of {spread:.2f} years, too small to compare")
    if difference > MAX_AGE_DIFFERENCE:
        raise DisagreementError(f"an age of {peer} differs by {difference:.2f} years from that of {warehouse}")


def check_counts(warehouse: Path, peer: Path) -> None:
    """Check that a peer has the same receipts with an age, and the same counts.

    Args:
        warehouse: of the jobs.
        peer: folder with `receipt_ages.parquet` and `daily_counts.parquet`.

    Raises:
        DisagreementError: a row of one side is missing in the other.
    """
    for table, keys in KEYS.items():
        # Sums and medians may differ in the last digits of a double.
        columns = ", ".join([keys, *(f"ROUND({name}, 6)" for name in FIGURES[table])])
        with duckdb.connect() as connection:
            jobs = job_rows(connection, warehouse, table).project(columns)
            peers = connection.read_parquet(str(peer / f"{table}.parquet")).project(columns)
            missing = [len(one.except_(other)) for one, other in ((jobs, peers), (peers, jobs))]
            n_rows = [len(jobs), len(peers)]
        if any(missing) or n_rows[0] != n_rows[1] or not n_rows[0]:
            raise DisagreementError(f"{table}: of {n_rows} rows of jobs and peer, {missing} are not in the other")


def job_rows(connection: duckdb.DuckDBPyConnection, warehouse: Path, table: str) -> duckdb.DuckDBPyRelation:
    """Return the rows of a restricted table."""
    return connection.read_parquet(DeltaTable(warehouse / "restricted" / table).file_uris())
