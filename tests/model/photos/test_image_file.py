import io
import resource
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from model.photos import image_file
from model.photos.decoding import decode_photo
from model.photos.image_file import UnreadablePhotoError, parse

ORIENTATION = 0x0112


def encoded(kind="JPEG", size=(60, 40), **save_options):
    noise = np.random.default_rng(1).integers(0, 256, (*size[::-1], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind, **save_options)
    return file.getvalue()


def segment(marker, body):
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def chunk(name, body=b""):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_header(width, height):
    """A PNG that announces a size and has no pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND")


def progressive_jpeg(side, n_scans):
    """A black progressive JPEG of a few bytes: each scan after the first refines nothing in every block."""
    n_blocks = (-(-side // 8)) ** 2
    one_code = bytes([1] + [0] * 15)
    runs = "".join("0" + "1" * 14 for _ in range(-(-n_blocks // 32_767)))  # of 32,767 blocks without detail
    runs += "1" * (-len(runs) % 8)
    data = int(runs, 2).to_bytes(len(runs) // 8, "big").replace(b"\xff", b"\xff\0")
    first = segment(0xDA, b"\x01\x01\0\0\0\0") + bytes(-(-n_blocks // 8))
    refinement = segment(0xDA, b"\x01\x01\0\x01\x3f\x10") + data
    return b"".join(
        [
            b"\xff\xd8",
            segment(0xDB, b"\0" + bytes([1] * 64)),
            segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\x01\x11\0"),
            segment(0xC4, b"\0" + one_code + b"\0"),
            segment(0xC4, b"\x10" + one_code + b"\xe0"),
            first,
            *[refinement] * (n_scans - 1),
            b"\xff\xd9",
        ]
    )


def detail(content):
    with pytest.raises(UnreadablePhotoError) as error:
        decode_photo(content, 32)
    return str(error.value)


@pytest.mark.parametrize("size", [(30_000, 30_000), (10_000, 9_000), (7_100, 7_100)])
def test_decompression_bomb_is_rejected_by_its_header(size):
    resident_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    assert detail(png_header(*size)) == f"too_many_pixels: {size[0]} x {size[1]} pixels; at most 25000000"
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 2**20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident_before < 20_000  # KiB


def test_progressive_jpeg_with_many_scans_is_refused_without_decoding_it():
    content = progressive_jpeg(5000, 133)
    started = time.process_time()
    assert detail(content) == "too_many_parts: 133 scans; at most 32"
    assert time.process_time() - started < 0.2  # decoding takes 3 s


def test_scans_are_counted_up_to_the_limit():
    assert decode_photo(progressive_jpeg(80, image_file.MAX_SCANS), 32).shape == (32, 32, 3)
    assert detail(progressive_jpeg(80, image_file.MAX_SCANS + 1)).startswith("too_many_parts: 33 scans")


@pytest.mark.parametrize(
    "filler",
    [b"\xff\xfe\0\x02" * 20_000, segment(0xFE, b"a") * 20_000, b"\xff\xd0" * 20_000],
    ids=["empty comments", "comments", "restart markers"],
)
def test_jpeg_of_many_segments_is_refused(filler):
    content = encoded()
    assert detail(content[:2] + filler + content[2:]) == "too_many_parts: more than 10000 segments"


@pytest.mark.parametrize("length", [0, 1])
@pytest.mark.parametrize("marker", [0xDB, 0xE0, 0xE1])
def test_segment_shorter_than_its_length_is_refused(marker, length):
    """libjpeg would take the marker after it as its length, and find a picture within another segment."""
    content = encoded()
    faulty = content[:20] + bytes([0xFF, marker, 0, length]) + content[20:]  # after the JFIF segment
    assert detail(faulty) == f"not_an_image: JPEG segment {marker:02X} of length {length}; at least 2"


@pytest.mark.parametrize("marker", [0xC3, 0xC8, 0xCA, 0xFE])
def test_size_in_a_segment_that_is_no_frame_is_not_found(marker):
    content = encoded()
    end = content.index(b"\xff\xc0") + 19
    hidden = segment(marker, segment(0xC0, struct.pack(">BHHB", 8, 20_000, 20_000, 3) + content[end - 9 : end]))
    assert parse(content[:end] + hidden + content[end:]) == parse(content)


def test_jpeg_whose_decoder_finds_another_size_is_refused():
    """The larger frame counts here, the last one in Pillow."""
    content = encoded()
    start = content.index(b"\xff\xc0")
    second = bytearray(content[start : start + 19])
    struct.pack_into(">HH", second, 5, 20, 30)
    twice = content[: start + 19] + second + content[start + 19 :]
    assert detail(twice) == f"not_an_image: {len(twice)} bytes, JPEG of 60 x 40 pixels; its decoder finds 30 x 20"


def test_png_of_many_chunks_is_refused():
    content = encoded("PNG")
    assert detail(content[:33] + chunk(b"teXt") * 20_000 + content[33:]) == "too_many_parts: more than 10000 chunks"


@pytest.mark.parametrize("filler", [b"\xff" * 3_000_000, b"\0" * 3_000_000, b"\xff\0" * 1_500_000])
def test_padding_between_segments_costs_little(filler):
    """Pillow reads it byte by byte: 1.5 s."""
    content = encoded()
    started = time.process_time()
    padded = parse(content[:20] + filler + content[20:])  # after the JFIF segment
    assert time.process_time() - started < 0.5
    assert padded == parse(content)


@pytest.mark.parametrize("options", [{"quality": 95}, {"progressive": True}, {"restart_marker_blocks": 1}])
def test_jpeg_keeps_what_its_pixels_need(options):
    content = encoded(comment=b"c" * 60_000, icc_profile=b"p" * 200_000, xmp=b"x" * 60_000, **options)
    stripped = parse(content).content
    assert len(stripped) < len(content) - 320_000
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(stripped))), np.asarray(Image.open(io.BytesIO(content))))


@pytest.mark.parametrize("transform", ["RGB", "CMYK"])
def test_jpeg_keeps_the_marker_that_tells_its_colours(transform):
    file = io.BytesIO()
    image = Image.new("RGB", (16, 16), "orange").convert(transform)
    image.save(file, "JPEG", **({"keep_rgb": True} if transform == "RGB" else {}))
    stripped = Image.open(io.BytesIO(parse(file.getvalue()).content))
    assert np.array_equal(np.asarray(stripped), np.asarray(Image.open(io.BytesIO(file.getvalue()))))


def test_png_loses_texts_profiles_and_further_pictures():
    frames = [Image.new("RGB", (60, 40), colour) for colour in ("red", "blue")]
    animated = encoded_animation = io.BytesIO()
    frames[0].save(animated, "PNG", save_all=True, append_images=frames[1:], default_image=False)
    content = encoded_animation.getvalue()
    profile = chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(2**20)))
    text = chunk(b"zTXt", b"t\0\0" + zlib.compress(bytes(2**20)))
    stripped = parse(content[:33] + profile + text + content[33:]).content
    picture = Image.open(io.BytesIO(stripped))
    assert {name for name in (b"iCCP", b"zTXt", b"acTL", b"fcTL", b"fdAT") if name in stripped} == set()
    assert picture.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_read_in_both_byte_orders(kind, order):
    exif = Image.Exif()
    exif.endian = order
    exif[0x010F], exif[ORIENTATION] = "maker", 6
    assert parse(encoded(kind, exif=exif)).orientation == 6


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        b"XX*\0\x08\0\0\0\x01\0",
        b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", ORIENTATION, 3, 1, 9),
        b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", ORIENTATION, 4, 1, 6),
    ],
)
def test_exif_without_a_usable_orientation_leaves_the_photo_as_it_is(exif):
    content = encoded()
    assert parse(content[:2] + segment(0xE1, b"Exif\0\0" + exif) + content[2:]).orientation == 1


@pytest.mark.parametrize(
    "content", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", png_header(0, 60), progressive_jpeg(8, 1)[:73]]
)
def test_file_without_a_size_is_not_an_image(content):
    assert detail(content).startswith("not_an_image")
