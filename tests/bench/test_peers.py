"""The peers that need no engine of their own compute what the jobs write; `agreement` refuses one that does not."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jobs import count_purchases, match_receipts
from model.predict import score_photos
from model.predictor import AgePredictor

BENCH = Path(__file__).parent
TAMPERED = {
    "receipt_ages": [
        "SELECT * REPLACE (age_years + 1 AS age_years) FROM rows",
        "SELECT * REPLACE (CAST([receipt_id] AS VARCHAR[]) AS photo_ids) FROM rows",
        "FROM rows LIMIT 100",
    ],
    "daily_counts": [
        "SELECT * REPLACE (n_receipts + CAST(level = 'all' AND age_year = 40 AS BIGINT) AS n_receipts) FROM rows",
        "SELECT * REPLACE (amount + 0.01 AS amount) FROM rows",
        "FROM rows UNION ALL FROM rows",
    ],
}


def module(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCH)
        return importlib.import_module(name)


agreement, bench_peers, bench_scale, contenders, job_commands = (
    module(name) for name in ("agreement", "bench_peers", "bench_scale", "contenders", "job_commands")
)


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> Path:
    """A chain whose jobs have run, and the tables of the peer in `peer`."""
    folder = tmp_path_factory.mktemp("chain")
    bench_scale.make_chain(folder, 200)
    landing, warehouse = folder / "landing", folder / "warehouse"
    places = ("--landing", landing, "--photo-ages", warehouse / "restricted" / "photo_ages")
    script = (BENCH / "peers" / "duckdb_counts.py", *places, "--date", bench_scale.DATE, "--out", folder / "peer")
    subprocess.run([sys.executable, *map(str, script)], check=True)
    for job in (match_receipts, count_purchases):
        job.main(job.Settings(business_date=bench_scale.DATE, landing=str(landing), warehouse=str(warehouse)))
    return folder


def test_the_duckdb_peer_has_the_rows_of_the_jobs(chain):
    agreement.check_counts(chain / "warehouse", chain / "peer")


@pytest.mark.parametrize(("table", "change"), [(table, sql) for table, changes in TAMPERED.items() for sql in changes])
def test_a_peer_with_other_rows_is_refused(chain, tmp_path, table, change):
    for name in TAMPERED:
        rows = pq.read_table(chain / "peer" / f"{name}.parquet")
        pq.write_table(duckdb.sql(change).to_arrow_table() if name == table else rows, tmp_path / f"{name}.parquet")
    with pytest.raises(agreement.DisagreementError, match=table):
        agreement.check_counts(chain / "warehouse", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ages: ages, None),
        (lambda ages: [ages[0] + 0.09, *ages[1:]], None),
        (lambda ages: [ages[0] + 0.11, *ages[1:]], r"differs by 0\.11 years"),
        (lambda ages: [None, *ages[1:]], "have an age"),
        (lambda ages: ages[1:], "have an age"),
    ],
)
def test_the_ages_of_a_peer_must_be_those_of_the_job(chain, tmp_path, change, message):
    scored = duckdb.sql(f"FROM '{chain}/warehouse/restricted/photo_ages/**/*.parquet'").to_arrow_table()
    ages = change(scored["age_years"].to_pylist())
    peer = pa.table({"photo_id": scored["photo_id"][-len(ages) :], "age_years": pa.array(ages, pa.float64())})
    pq.write_table(peer, tmp_path / "ages.parquet")
    if message is None:
        agreement.check_ages(chain / "warehouse", tmp_path)
        return
    with pytest.raises(agreement.DisagreementError, match=message):
        agreement.check_ages(chain / "warehouse", tmp_path)


def test_the_loop_over_a_dataloader_has_the_ages_of_the_network_and_the_ceiling_a_time(tmp_path):
    events = bench_peers.draw_photos(tmp_path, 40)
    landing, model, out = tmp_path / "landing", tmp_path / "age", tmp_path / "ages"
    runs = contenders.Contenders(repeats=1, is_float32=True)
    one = {"threads": 1, "batch": 32}
    flags = {"--events": events, "--landing": landing, "--model": model, "--image-size": 64, "--out": out}
    assert runs.score("torch", {"workers": 1, **one}, flags) > 0
    assert runs.score("ceiling", {"processes": 1, **one}, {"--model": model, "--photos": 40}) > 0

    photos, predictor = pq.read_table(events), AgePredictor(model, dtype=torch.float32)
    scores = score_photos(
        predictor, photos["path"].to_pylist(), lambda path: (landing / path).read_bytes(), n_threads=1
    )
    expected = [score.age_years for score in scores]
    ages = pq.read_table(out / "ages.parquet")
    assert ages["photo_id"] == photos["photo_id"]
    assert ages["age_years"].to_pylist() == pytest.approx(expected, abs=0.1)
    assert np.std(expected) > agreement.MIN_AGE_SPREAD


def test_a_job_is_run_with_the_flags_and_the_environment_of_the_dag():
    flags = {"--business-date": "2026-11-09", "--landing": "L", "--warehouse": "W", "--model": "M"}
    words, environment = job_commands.command(contenders.PROJECT, "build_affinity", flags, "4g")
    assert words == [sys.executable, "-m", "jobs.build_affinity", "--business-date", "2026-11-09", "--warehouse", "W"]
    assert environment == {"OMP_NUM_THREADS": "1"}
    words, _ = job_commands.command(contenders.PROJECT, "score_photos", flags, "4g")
    assert words[-8:] == [word for flag in flags.items() for word in flag]
    with pytest.raises(ValueError, match="has no task tidy_up"):
        job_commands.command(contenders.PROJECT, "tidy_up", flags, "4g")
