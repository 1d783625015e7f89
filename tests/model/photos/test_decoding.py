import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from model.photos import decoding, image_file
from model.photos.decoding import decode_photo
from model.photos.image_file import UnreadablePhotoError

# Left half red, right half blue, and green below: rotated or mirrored, it differs.
SIGN = Image.new("RGB", (60, 60), "red")
SIGN.paste("blue", (30, 0, 60, 60))
SIGN.paste("green", (0, 40, 60, 60))

ORIENTATION = 0x0112


def encoded(image, kind, **save_options):
    file = io.BytesIO()
    image.save(file, kind, **save_options)
    return file.getvalue()


@pytest.fixture
def resident_growth():
    """Return a context manager that checks by how much the largest memory of the process grows within it."""

    @contextmanager
    def check(*, below_mib):
        def peak_mib():
            status = Path("/proc/self/status").read_text()
            return int(status.partition("VmHWM:")[2].split()[0]) / 1024

        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again at what is in use now
        before = peak_mib()
        yield
        assert peak_mib() - before < below_mib

    return check


def reason(content):
    with pytest.raises(UnreadablePhotoError) as error:
        decode_photo(content, 32)
    assert error.value.detail
    return error.value.reason


def test_photo_is_decoded_to_rgb_pixels_of_the_given_size(photo):
    pixels = decode_photo(photo(size=(80, 50)), 32)
    assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_every_accepted_format_decodes_to_the_same_picture(kind):
    pixels = decode_photo(encoded(SIGN, kind), 32).astype(int)
    assert np.abs(pixels - np.asarray(SIGN.resize((32, 32), Image.Resampling.BILINEAR))).mean() < 6


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK"])
def test_photo_in_another_colour_mode_is_readable(mode):
    kind = "JPEG" if mode in ("L", "CMYK") else "PNG"
    pixels = decode_photo(encoded(SIGN.convert(mode), kind), 32)
    assert np.ptp(pixels.mean(axis=2)) > 20


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_photo_with_an_alpha_channel_is_readable(mode):
    assert decode_photo(encoded(SIGN.convert(mode), "PNG"), 32).shape == (32, 32, 3)


def test_palette_with_transparent_colours_is_readable_without_warnings():
    content = encoded(SIGN.convert("P"), "PNG", transparency=bytes([0, 128, 255]))
    assert decode_photo(content, 32).shape == (32, 32, 3)


def test_16_bit_grey_photo_is_not_all_white():
    ramp = Image.fromarray(np.linspace(0, 65535, 60 * 60).reshape(60, 60).astype(np.uint16))
    pixels = decode_photo(encoded(ramp, "PNG"), 32)
    assert pixels[0].mean() < 20
    assert 100 < pixels[16].mean() < 155


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


@pytest.mark.parametrize("kind", ["EPS", "TIFF", "GIF", "BMP", "WEBP", "ICO", "PDF"])
def test_another_format_is_refused_with_the_accepted_ones(kind):
    with pytest.raises(UnreadablePhotoError, match=r"not_an_image: \d+ bytes, neither JPEG nor PNG"):
        decode_photo(encoded(SIGN, kind), 32)


def test_float_tiff_does_not_decode_to_black():
    shades = Image.fromarray(np.linspace(0, 1, 3600, dtype=np.float32).reshape(60, 60))
    assert reason(encoded(shades, "TIFF")) == "not_an_image"


def test_tiff_with_one_huge_tile_costs_no_memory(resident_growth):
    tags = [(256, 10), (257, 10), (258, 8), (259, 8), (262, 1), (277, 1), (322, 32768), (323, 32768)]
    data = zlib.compress(bytes(2**20))
    tags += [(324, 8 + 2 + 12 * 10 + 4), (325, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    content = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data
    with resident_growth(below_mib=20):
        assert reason(content) == "not_an_image"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_half_of_a_photo_is_reported_as_truncated(photo, kind):
    content = photo(size=(300, 300), kind=kind)
    assert reason(content[: len(content) // 2]) == "truncated"


def test_file_over_the_size_limit_is_not_opened(monkeypatch, photo):
    monkeypatch.setattr(decoding, "MAX_PHOTO_BYTES", 1000)
    assert reason(photo(size=(300, 300))) == "file_too_large"


def test_large_png_is_decoded_without_further_copies(resident_growth):
    content = encoded(Image.new("RGBA", (5000, 5000)), "PNG", compress_level=1)
    with resident_growth(below_mib=8 * 25_000_000 / 2**20 + 20):
        assert decode_photo(content, 32).shape == (32, 32, 3)


def test_at_most_four_large_photos_are_decoded_at_once(monkeypatch):
    """All four places are taken, so a large photo waits, and a small one does not."""
    monkeypatch.setattr(decoding, "LARGE_PHOTO_PIXELS", 60 * 60)
    content, large = encoded(SIGN, "PNG"), encoded(SIGN.resize((61, 61)), "PNG")
    places = decoding._large_photos
    for _ in range(4):
        assert places.acquire(timeout=1)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(decode_photo, large, 32)
        try:
            assert decode_photo(content, 32).shape == (32, 32, 3)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
        finally:
            places.release(4)
        assert waiting.result(timeout=20).shape == (32, 32, 3)


def test_damaged_large_photo_leaves_its_place(monkeypatch):
    monkeypatch.setattr(decoding, "LARGE_PHOTO_PIXELS", 1)
    half = encoded(SIGN, "PNG")[:-40]
    assert {reason(half) for _ in range(6)} == {"truncated"}


EXIF = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
SOUND = {
    "JPEG": encoded(SIGN, "JPEG", exif=EXIF),
    "progressive JPEG": encoded(SIGN, "JPEG", exif=EXIF, progressive=True),
    "PNG": encoded(SIGN, "PNG", exif=EXIF),
}


@pytest.mark.parametrize("error", [TypeError, struct.error, ZeroDivisionError, Image.DecompressionBombError])
@pytest.mark.parametrize(("step", "expected"), [("Image.open", "not_an_image"), ("ImageOps.fit", "truncated")])
def test_any_error_of_a_decoder_becomes_a_reason(monkeypatch, photo, error, step, expected):
    def fail(*_, **__):
        raise error("offset")

    content = photo()
    monkeypatch.setattr(f"PIL.{step}", fail)
    assert reason(content) == expected


@pytest.mark.parametrize("step", ["Image.open", "ImageOps.fit"])
def test_lack_of_memory_is_no_reason_of_a_photo(monkeypatch, photo, step):
    def fail(*_, **__):
        raise MemoryError

    content = photo()
    monkeypatch.setattr(f"PIL.{step}", fail)
    with pytest.raises(MemoryError):
        decode_photo(content, 32)


@pytest.mark.parametrize("kind", SOUND)
def test_the_beginning_of_a_file_is_parsed_or_gives_a_reason(kind):
    for length in range(len(SOUND[kind])):
        with suppress(UnreadablePhotoError):
            image_file.parse(SOUND[kind][:length])


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(sorted(SOUND)),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=20),
    st.integers(1, 4000),
)
def test_damaged_file_gives_pixels_or_a_reason_but_no_other_error(kind, damages, length):
    content = bytearray(SOUND[kind])
    for place, value in damages:
        content[place % len(content)] = value
    with suppress(UnreadablePhotoError):
        assert decode_photo(bytes(content[: max(length, len(content) - 3000)]), 32).shape == (32, 32, 3)
