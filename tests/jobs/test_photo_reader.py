import os
import socket
import stat
from contextlib import suppress

import pytest

from jobs.score_photos import photo_reader
from jobs.tables.landing import open_place
from model.predict import MAX_PHOTO_BYTES, UnreadablePhotoError


def reason_of(read, path):
    with pytest.raises(UnreadablePhotoError) as error:
        read(path)
    return error.value.reason


def test_an_unreadable_photo_has_a_reason_and_an_outside_file_is_not_opened(tmp_path):
    root, outside = tmp_path / "landing", tmp_path / "secret.jpg"
    root.mkdir()
    outside.write_bytes(b"secret")
    (root / "good.jpg").write_bytes(b"content")
    (root / "link.jpg").symlink_to(outside)
    (root / "folder.jpg").mkdir()
    with (root / "huge.jpg").open("wb") as file:
        file.truncate(MAX_PHOTO_BYTES + 1)
    read = photo_reader(open_place(str(root)))
    assert read("good.jpg") == b"content"
    assert reason_of(read, "link.jpg") == "path_outside_landing"
    assert reason_of(read, "absent.jpg") == "file_missing"
    assert reason_of(read, "good.jpg/a.jpg") == "file_unreadable"
    assert reason_of(read, "folder.jpg") == "file_unreadable"
    assert reason_of(read, "n" * 300 + ".jpg") == "file_unreadable"
    assert reason_of(read, "huge.jpg") == "file_too_large"


@pytest.fixture
def landing_of_specials(tmp_path):
    """A landing zone with a FIFO, a socket, a device, links to them, and a photo that takes the place of a FIFO."""
    root = tmp_path / "landing"
    root.mkdir()
    os.mkfifo(root / "fifo.jpg")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(root / "socket.jpg"))
    with suppress(PermissionError):  # of a user who may not make devices
        os.mknod(root / "device.jpg", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    (root / "link.jpg").symlink_to("fifo.jpg")
    return root


@pytest.mark.timeout(20)
def test_what_is_no_regular_file_is_unreadable_and_never_opened(landing_of_specials, monkeypatch):
    opened = []
    monkeypatch.setattr(os, "open", lambda path, *_: opened.append(path))
    read = photo_reader(open_place(str(landing_of_specials)))
    names = sorted(path.name for path in landing_of_specials.iterdir())
    assert {"fifo.jpg", "link.jpg", "socket.jpg"} <= set(names)
    assert {reason_of(read, name) for name in names} == {"file_unreadable"}
    assert opened == []


@pytest.mark.timeout(20)
def test_fifo_that_replaces_a_photo_before_it_is_opened_does_not_hang(landing_of_specials, monkeypatch):
    (landing_of_specials / "photo.jpg").write_bytes(b"content")
    as_photo, status_of = (landing_of_specials / "photo.jpg").stat(), os.stat
    monkeypatch.setattr(os, "stat", lambda path, **_: as_photo if str(path).endswith("fifo.jpg") else status_of(path))
    read = photo_reader(open_place(str(landing_of_specials)))
    assert read("photo.jpg") == b"content"
    assert reason_of(read, "fifo.jpg") == "file_unreadable"


def test_unreachable_storage_is_an_error_and_not_a_missing_photo(tmp_path, monkeypatch):
    def unreachable(*_):
        raise OSError(5, "Input/output error")

    read = photo_reader(open_place(str(tmp_path)))
    (tmp_path / "a.jpg").write_bytes(b"content")
    assert read("a.jpg") == b"content"
    monkeypatch.setattr("jobs.score_photos.os.path.realpath", unreachable)
    with pytest.raises(OSError, match="Input/output error"):
        read("a.jpg")
