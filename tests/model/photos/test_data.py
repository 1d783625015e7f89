import io
import resource
import struct
import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from model.cli import InputError
from model.photos import data
from model.photos.data import UnreadablePhotoError, decode_photo, read_labels

# Left half red, right half blue, and green below: rotated or mirrored, it differs.
SIGN = Image.new("RGB", (60, 60), "red")
SIGN.paste("blue", (30, 0, 60, 60))
SIGN.paste("green", (0, 40, 60, 60))

ORIENTATION = 0x0112


def encoded(image, kind, **save_options):
    file = io.BytesIO()
    image.save(file, kind, **save_options)
    return file.getvalue()


def png_header(width, height):
    """A PNG that announces a size and has no pixels."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def reason(content):
    with pytest.raises(UnreadablePhotoError) as error:
        decode_photo(content, 32)
    assert error.value.detail
    return error.value.reason


def test_photo_is_decoded_to_rgb_pixels_of_the_given_size(photo):
    pixels = decode_photo(photo(size=(80, 50)), 32)
    assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_accepted_format_decodes_to_the_same_picture(kind):
    pixels = decode_photo(encoded(SIGN, kind), 32).astype(int)
    assert np.abs(pixels - np.asarray(SIGN.resize((32, 32), Image.Resampling.BILINEAR))).mean() < 6


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK"])
def test_photo_in_another_colour_mode_is_readable(mode):
    kind = "JPEG" if mode in ("L", "CMYK") else "PNG"
    pixels = decode_photo(encoded(SIGN.convert(mode), kind), 32)
    assert np.ptp(pixels.mean(axis=2)) > 20


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_photo_with_an_alpha_channel_is_readable(mode):
    image = SIGN.convert(mode) if mode != "PA" else SIGN.convert("P").convert("PA")
    kind = "TIFF" if mode == "PA" else "PNG"
    assert decode_photo(encoded(image, kind), 32).shape == (32, 32, 3)


def test_palette_with_transparent_colours_is_readable_without_warnings():
    content = encoded(SIGN.convert("P"), "PNG", transparency=bytes([0, 128, 255]))
    assert decode_photo(content, 32).shape == (32, 32, 3)


def test_16_bit_grey_photo_is_not_all_white():
    ramp = Image.fromarray(np.linspace(0, 65535, 60 * 60).reshape(60, 60).astype(np.uint16))
    pixels = decode_photo(encoded(ramp, "PNG"), 32)
    assert pixels[0].mean() < 20
    assert 100 < pixels[16].mean() < 155


def test_png_named_jpg_is_readable(labelled_set):
    folder = labelled_set([30])
    (folder / "final_files" / "0.jpg").write_bytes(encoded(SIGN, "PNG"))
    assert (read_labels(folder).pixels(32)[0] == decode_photo(encoded(SIGN, "PNG"), 32)).all()


@pytest.mark.parametrize(
    ("orientation", "undo"),
    [
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_90),
        (8, Image.Transpose.ROTATE_270),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
    ],
)
def test_exif_orientation_is_applied(orientation, undo):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    sideways = encoded(SIGN.transpose(undo), "JPEG", exif=exif, quality=95)
    upright = decode_photo(encoded(SIGN, "JPEG", quality=95), 32).astype(int)
    assert np.abs(decode_photo(sideways, 32) - upright).mean() < 4


def test_wide_photo_is_cropped_to_its_centre_square():
    wide = Image.new("RGB", (180, 60), "black")
    wide.paste(SIGN, (60, 0))
    difference = decode_photo(encoded(wide, "PNG"), 32).astype(int) - decode_photo(encoded(SIGN, "PNG"), 32)
    assert np.abs(difference)[:, 1:-1].max() <= 1


def test_large_jpeg_decodes_like_the_same_photo_in_small(photo):
    small = Image.open(io.BytesIO(photo(size=(200, 200), quality=95)))
    large = encoded(small.resize((1600, 1600), Image.Resampling.BICUBIC), "JPEG", quality=95)
    difference = decode_photo(large, 64).astype(int) - decode_photo(encoded(small, "PNG"), 64)
    assert np.abs(difference).mean() < 4


def test_empty_file_has_a_reason():
    assert reason(b"") == "file_empty"


@pytest.mark.parametrize("content", [b"<!doctype html><h1>404</h1>", b"\0" * 100, b"\xff\xd8\xff", b"%PDF-1.7"])
def test_file_that_is_not_an_image_has_a_reason(content):
    assert reason(content) == "not_an_image"


def test_format_that_starts_another_program_is_not_opened():
    assert reason(encoded(SIGN, "EPS")) == "not_an_image"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_half_of_a_file_has_a_reason(photo, kind):
    content = photo(size=(300, 300), kind=kind)
    assert reason(content[: len(content) // 2]) in {"truncated", "not_an_image"}


def test_half_of_a_jpeg_is_reported_as_truncated(photo):
    content = photo(size=(300, 300))
    assert reason(content[: len(content) // 2]) == "truncated"


def test_file_over_the_size_limit_is_not_opened(monkeypatch, photo):
    monkeypatch.setattr(data, "MAX_PHOTO_BYTES", 1000)
    assert reason(photo(size=(300, 300))) == "file_too_large"


@pytest.mark.parametrize("size", [(30_000, 30_000), (10_000, 9_000), (8_000, 7_000)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bomb_is_rejected_by_its_header(size):
    resident_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    assert reason(png_header(*size)) == "too_many_pixels"
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 2**20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident_before < 20_000  # KiB


SOUND = {
    kind: encoded(SIGN, kind, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0")
    for kind in ("JPEG", "PNG", "WEBP", "TIFF")
} | {kind: encoded(SIGN, kind) for kind in ("GIF", "BMP")}


@pytest.mark.parametrize("error", [TypeError, struct.error, ZeroDivisionError])
def test_any_error_of_a_decoder_becomes_a_reason(monkeypatch, photo, error):
    def fail(_):
        raise error("offset")

    monkeypatch.setattr(data.ImageOps, "exif_transpose", fail)
    assert reason(photo()) == "truncated"


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(sorted(SOUND)),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=20),
    st.integers(1, 4000),
)
@pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
def test_damaged_file_gives_pixels_or_a_reason_but_no_other_error(kind, damages, length):
    content = bytearray(SOUND[kind])
    for place, value in damages:
        content[place % len(content)] = value
    with suppress(UnreadablePhotoError):
        assert decode_photo(bytes(content[: max(length, len(content) - 3000)]), 32).shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file_name,age\n0.jpg,30\n", "lacks the column real_age"),
        ("file_name,real_age\n", "has no rows"),
        ("", "lacks the column file_name"),
        ("file_name,real_age\n0.jpg,101\n", "line 2: real_age is '101'; it must be a whole number from 0 to 100"),
        ("file_name,real_age\n0.jpg,30\n1.jpg,-1\n", "line 3: real_age is '-1'"),
        ("file_name,real_age\n0.jpg,30.5\n", "real_age is '30.5'"),
        ("file_name,real_age\n0.jpg,\n", "real_age is ''"),
        ("file_name,real_age\n0.jpg\n", "real_age is None"),
        ("file_name,real_age\n0.jpg,30,5\n", "line 2 has more cells than the 2 of the header"),
        ("file_name,real_age\n\n0.jpg,130\n", "line 3: real_age is '130'"),
        ("file_name,real_age\n../0.jpg,30\n", "file_name is '../0.jpg'; it must be a plain file name"),
        ("file_name,real_age\n/etc/passwd,30\n", "file_name is '/etc/passwd'"),
        ("file_name,real_age\n..,30\n", "file_name is '..'"),
        ("file_name,real_age\n,30\n", "file_name is ''"),
        ("real_age,file_name\n30\n", "file_name is None"),
        ("file_name,real_age\n0.jpg,30\n0.jpg,31\n", "line 3: 0.jpg is listed twice"),
    ],
)
def test_wrong_labels_are_reported(tmp_path, text, message):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path)


def test_folder_without_labels_is_reported(tmp_path):
    with pytest.raises(InputError, match=r"labels\.csv does not exist; a labelled set is a folder"):
        read_labels(tmp_path)


def test_labels_saved_by_a_spreadsheet_are_readable(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"\xef\xbb\xbffile_name,real_age,real\r\n0.jpg,30,yes\r\n")
    labelled = read_labels(tmp_path)
    assert (labelled.file_names, labelled.ages.tolist()) == (["0.jpg"], [30])


@pytest.mark.parametrize("name", ["labels.csv", "attributes.csv"])
def test_table_that_is_not_utf_8_is_reported(labelled_set, name):
    folder = labelled_set([30])
    (folder / name).write_bytes("file_name,real_age\ncafé.jpg,30\n".encode("latin-1"))
    with pytest.raises(InputError, match=f"{name} can't be read as a CSV file in UTF-8"):
        read_labels(folder)


def test_photo_with_two_rows_of_attributes_is_reported(labelled_set):
    folder = labelled_set([30])
    (folder / "attributes.csv").write_text("file_name,sex\n0.jpg,male\n0.jpg,female\n")
    with pytest.raises(InputError, match=r"attributes\.csv line 3: 0\.jpg is listed twice"):
        read_labels(folder)


def test_folder_in_place_of_a_labelled_photo_is_reported(labelled_set):
    folder = labelled_set([30])
    (folder / "final_files" / "0.jpg").unlink()
    (folder / "final_files" / "0.jpg").mkdir()
    with pytest.raises(InputError, match=r"0\.jpg can't be read: Is a directory"):
        _ = read_labels(folder).digests


def test_missing_labelled_photo_is_reported(labelled_set):
    folder = labelled_set([30, 40])
    (folder / "final_files" / "1.jpg").unlink()
    with pytest.raises(InputError, match=r"labels\.csv lists 1\.jpg, which is not in"):
        read_labels(folder).pixels(32)


def test_unreadable_labelled_photo_is_reported(labelled_set):
    folder = labelled_set([30, 40])
    (folder / "final_files" / "1.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"1\.jpg can't be read: file_empty"):
        read_labels(folder).pixels(32)
