import os
import tempfile
import time

import pytest

from jobs.tables.private_files import scratch_folder, write_private
from model.cli import InputError


@pytest.fixture(params=[0o000, 0o077])
def _umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_umask")
@pytest.mark.parametrize("overwrite", [False, True])
def test_only_the_owner_can_read_the_file_whatever_the_umask(tmp_path, overwrite):
    write_private(tmp_path / "file", "text\r\n", overwrite=overwrite)
    assert oct((tmp_path / "file").stat().st_mode & 0o777) == "0o600"
    assert (tmp_path / "file").read_bytes() == b"text\r\n"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_is_overwritten_only_on_request(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(InputError, match=r"file exists; it is not overwritten"):
        write_private(tmp_path / "file", "new", overwrite=False)
    assert (tmp_path / "file").read_text() == "old"
    write_private(tmp_path / "file", "new", overwrite=True)
    assert (tmp_path / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_missing_folder_is_an_error(tmp_path, overwrite):
    with pytest.raises(InputError, match=r"--out .*nowhere/file can't be written"):
        write_private(tmp_path / "nowhere" / "file", "text", overwrite=overwrite)


def test_scratch_folders_that_a_crash_has_left_are_removed_after_a_day(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    others = {"bread_salt_project": 25, "bread_salt_scratch_young": 23}
    for name, age_hours in {"bread_salt_scratch_old": 25, **others}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows").touch()
        at = time.time() - age_hours * 3600
        os.utime(tmp_path / name, (at, at))
    with scratch_folder() as folder:
        assert {path.name for path in tmp_path.iterdir()} == {folder.name, *others}
    assert {path.name for path in tmp_path.iterdir()} == others.keys()
