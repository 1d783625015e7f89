"""The harness itself: which writes it counts, what it notices otherwise, and what a fault leaves."""

import os
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from pyarrow import fs

from tests.jobs.faults.hooks import watched
from tests.jobs.faults.points import (
    FULL_DISK,
    KILLED_AFTER,
    KILLED_BEFORE,
    KILLED_HALF_WAY,
    REFUSED,
    Fault,
    Killed,
    UncountedWriteError,
    Writes,
)

ROWS = pa.table({"key": ["a", "b"], "value": [1, 2]})


def points_of(root: Path, action) -> list[str]:
    """Return the first word of each point of an action."""
    writes = Writes(root)
    with watched(writes):
        action()
    return [point.name.split()[0] for point in writes.points()]


@pytest.fixture
def table(tmp_path) -> str:
    uri = str(tmp_path / "table")
    for _ in range(2):
        write_deltalake(uri, ROWS, mode="overwrite")
    return uri


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("DeltaTable.delete", lambda table: table.delete("key = 'a'")),
        ("DeltaTable.update", lambda table: table.update({"value": "3"})),
        ("DeltaTable.vacuum", lambda table: table.vacuum(0, dry_run=False, enforce_retention_duration=False)),
        ("DeltaTable.create_checkpoint", lambda table: table.create_checkpoint()),
        ("DeltaTable.restore", lambda table: table.restore(0)),
        (
            "TableAlterer.set_table_properties",
            lambda table: table.alter.set_table_properties({"delta.checkpointInterval": "20"}),
        ),
        (
            "TableMerger.execute",
            lambda table: table.merge(ROWS, "s.key = t.key", "s", "t").when_matched_delete().execute(),
        ),
        ("write_deltalake", lambda table: write_deltalake(table, ROWS, mode="append")),
        ("DeltaTable.create", lambda table: DeltaTable.create(f"{table.table_uri}-2", ROWS.schema)),
    ],
)
def test_a_delta_commit_is_one_point(table, tmp_path, name, action):
    opened = DeltaTable(table)
    assert points_of(tmp_path, lambda: action(opened)) == [name]


def test_a_compaction_is_one_point(table, tmp_path):
    write_deltalake(table, ROWS, mode="append")
    assert points_of(tmp_path, DeltaTable(table).optimize.compact) == ["TableOptimizer.compact"]


def test_reading_is_no_point(table, tmp_path):
    def read():
        assert DeltaTable.is_deltatable(table)
        DeltaTable(table).vacuum(0, dry_run=True, enforce_retention_duration=False)
        assert len(DeltaTable(table).to_pyarrow_table()) == 2
        assert fs.LocalFileSystem().get_file_info(table).type == fs.FileType.Directory

    assert points_of(tmp_path, read) == []


def test_each_change_through_arrows_file_system_is_a_point(tmp_path):
    def change():
        local = fs.LocalFileSystem()
        local.create_dir(f"{tmp_path}/a")
        with local.open_output_stream(f"{tmp_path}/a/b") as file:
            file.write(b"content")
        local.copy_file(f"{tmp_path}/a/b", f"{tmp_path}/a/c")
        local.move(f"{tmp_path}/a/c", f"{tmp_path}/a/d")
        local.delete_file(f"{tmp_path}/a/d")
        local.delete_dir(f"{tmp_path}/a")

    names = ["create_dir", "open_output_stream", "copy_file", "move", "delete_file", "delete_dir"]
    assert points_of(tmp_path, change) == [f"filesystem.{name}" for name in names]


def test_each_change_through_python_is_a_point(tmp_path):
    def change():
        folder = tmp_path / "a"
        folder.mkdir()
        (folder / "b").write_text("content")
        (folder / "b").rename(folder / "c")
        (folder / "d").hardlink_to(folder / "c")
        (folder / "e").symlink_to(folder / "c")
        (folder / "c").chmod(0o600)
        os.truncate(folder / "c", 1)
        (folder / "d").unlink()
        shutil.rmtree(folder)

    names = ["mkdir", "rename", "link", "symlink", "chmod", "truncate", "remove", "remove", "remove", "rmdir"]
    assert points_of(tmp_path, change) == ["os.mkdir", "open", *(f"os.{name}" for name in names[1:])]


@pytest.mark.parametrize(
    "action",
    [
        lambda folder: subprocess.run(["touch", folder / "file"], check=True),
        lambda folder: pq.ParquetWriter(folder / "file.parquet", ROWS.schema).close(),
    ],
    ids=["another process", "a library without a hook"],
)
def test_a_write_that_is_not_counted_is_noticed(tmp_path, action):
    with pytest.raises(UncountedWriteError, match=r"after the start, no hooked call has written: file"):
        points_of(tmp_path, lambda: action(tmp_path))


def test_after_a_kill_nothing_is_written(tmp_path):
    def job():
        try:
            (tmp_path / "first").touch()
            (tmp_path / "second").touch()
        finally:
            (tmp_path / "first").unlink()

    with pytest.raises(Killed), watched(Writes(tmp_path, Fault("open second 1", KILLED_BEFORE))):
        job()
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


@pytest.mark.parametrize(
    ("kind", "values"), [(KILLED_BEFORE, [1, 2]), (KILLED_HALF_WAY, [1, 2]), (REFUSED, [1, 2]), (KILLED_AFTER, [5])]
)
def test_a_fault_leaves_a_table_before_or_after_the_commit(table, tmp_path, kind, values):
    n_files = len(list(Path(table).glob("*.parquet")))
    with pytest.raises((Killed, Exception)), watched(Writes(tmp_path, Fault("write_deltalake table 1", kind))):
        write_deltalake(table, pa.table({"key": ["c"], "value": [5]}), mode="overwrite")
    assert DeltaTable(table).to_pyarrow_table()["value"].to_pylist() == values
    # An interrupted commit has written its data; object_store gives an unfinished log entry this name.
    assert len(list(Path(table).glob("*.parquet"))) == n_files + (kind != KILLED_BEFORE)
    names = [path.name for path in Path(table).glob("_delta_log/*#1")]
    assert names == (["00000000000000000002.json#1"] if kind in (KILLED_HALF_WAY, REFUSED) else [])


def test_a_vacuum_that_is_interrupted_has_deleted_half_of_its_files(table, tmp_path):
    for _ in range(3):
        write_deltalake(table, ROWS, mode="overwrite")
    with (
        pytest.raises(OSError, match="No space left"),
        watched(Writes(tmp_path, Fault("DeltaTable.vacuum table 1", FULL_DISK))),
    ):
        DeltaTable(table).vacuum(0, dry_run=False, enforce_retention_duration=False)
    assert len(list(Path(table).glob("*.parquet"))) == 3
    assert len(DeltaTable(table).to_pyarrow_table()) == 2
