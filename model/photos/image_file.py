"""The parts of a JPEG or PNG file that its pixels need, found without decoding anything.

Photos come from cameras and networks that others control, so a file may be made to cost a lot. Pillow reads comments,
profiles and EXIF one by one, in Python, and libjpeg reads every scan of a progressive JPEG over the whole picture. So
Pillow gets the file without metadata, and only if its parts are few.
"""

import re
import struct
from typing import NamedTuple

from PIL import Image

MAX_PIXELS = 25_000_000
"""A 24-megapixel camera. Face crops have 0.04 million."""

MAX_SCANS = 32
"""Encoders write 1 to 18 scans (CMYK). libjpeg goes over the whole picture once for each, whatever the scale: of 25
million pixels, 30 empty scans cost 1.0 s of CPU time. Scans of noise cost more: 20 MB of RGB 1.4 s and 29 MB of CMYK
2.2 s, the most of all photos that were measured (PNG: 0.5 s)."""

MAX_PARTS = 10_000
"""Segments of a JPEG or chunks of a PNG. A PNG of 32 MB in chunks of 4 kB has 8,000; 10,000 cost 30 ms."""

TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a photo upright, by its EXIF orientation."""

_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff]")
_MARKER_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # restart markers are part of a scan
_START_OF_SCAN, _START_OF_IMAGE, _END_OF_IMAGE, _APP1 = 0xDA, 0xD8, 0xD9, 0xE1
_FRAMES = {0xC0, 0xC1, 0xC2}
"""Baseline, extended and progressive. No camera writes the others, such as lossless or arithmetic coding, which takes
twice the time: such a file has no size."""
_KEPT = _FRAMES | {0xC4, 0xDB, 0xDD, 0xE0, 0xEE}  # tables, restart interval; JFIF and Adobe tell the colours
_KEPT_CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")


class UnreadablePhotoError(Exception):
    """A photo that can't be scored.

    Attributes:
        reason: a code: file_missing, file_unreadable, path_outside_landing, file_empty, file_too_large, not_an_image,
            too_many_pixels, too_many_parts, truncated.
        detail: explanation for a reader. Never the content of the file.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class ImageFile(NamedTuple):
    """A JPEG or PNG file without metadata."""

    kind: str
    """JPEG or PNG."""
    width: int
    height: int
    orientation: int
    """As in EXIF, 1 to 8; 1 where it has none. XMP is not read."""
    content: bytes


def parse(content: bytes) -> ImageFile:
    """Return the file without metadata, after checking its size and the number of its parts.

    The kinds are those that tills write. Others, such as TIFF, can announce few pixels and decode many, or have pixels
    that are no shades from 0 to 255.

    Raises:
        UnreadablePhotoError: not_an_image, too_many_pixels or too_many_parts. A damaged file is not always noticed.
    """
    if content.startswith(b"\xff\xd8\xff"):
        file = _parse_jpeg(content)
    elif content.startswith(b"\x89PNG\r\n\x1a\n"):
        file = _parse_png(content)
    else:
        raise UnreadablePhotoError("not_an_image", f"{len(content)} bytes, neither JPEG nor PNG")
    if not file.width or not file.height:
        raise UnreadablePhotoError("not_an_image", f"{len(content)} bytes, {file.kind} without a size")
    if file.width * file.height > MAX_PIXELS:
        raise UnreadablePhotoError("too_many_pixels", f"{file.width} x {file.height} pixels; at most {MAX_PIXELS}")
    return file


def _parse_jpeg(content: bytes) -> ImageFile:
    """Finds the same markers as libjpeg, which skips other bytes between segments too."""
    parts = [content[:2]]
    width = height = n_scans = 0
    orientation = 1
    found = _NEXT_MARKER.search(content, 2)
    for _ in range(MAX_PARTS):
        marker = content[found.end() - 1] if found else _END_OF_IMAGE
        if found is None or marker in (_START_OF_IMAGE, _END_OF_IMAGE):
            break
        start, end = found.start(), _segment_end(content, found.end())
        found = _NEXT_MARKER.search(content, end)
        if marker in _FRAMES and min(end, len(content)) - start >= 9:
            height, width = max((height, width), struct.unpack_from(">HH", content, start + 5), key=_product)
        if marker == _START_OF_SCAN:
            n_scans += 1
            found = _MARKER_AFTER_SCAN.search(content, end)
            end = found.start() if found else len(content)
        if marker in _KEPT or marker == _START_OF_SCAN:
            parts.append(content[start:end])
        if marker == _APP1 and orientation == 1:
            orientation = _orientation(content[start + 4 : end].removeprefix(b"Exif\0\0"))
    else:
        raise UnreadablePhotoError("too_many_parts", f"more than {MAX_PARTS} segments")
    if n_scans > MAX_SCANS:
        raise UnreadablePhotoError("too_many_parts", f"{n_scans} scans; at most {MAX_SCANS}")
    if found:
        parts.append(b"\xff\xd9")
    return ImageFile("JPEG", width, height, orientation, b"".join(parts))


def _segment_end(content: bytes, marker_end: int) -> int:
    marker = content[marker_end - 1]
    if 0xD0 <= marker <= 0xD7 or marker == 0x01:  # these have no length
        return marker_end
    length = int.from_bytes(content[marker_end : marker_end + 2], "big")
    # libjpeg would read on in the next segment, and find other segments within its bytes.
    if length < 2 and marker_end + 2 <= len(content):
        raise UnreadablePhotoError("not_an_image", f"JPEG segment {marker:02X} of length {length}; at least 2")
    return marker_end + length


def _product(sides: tuple[int, int]) -> int:
    return sides[0] * sides[1]


def _parse_png(content: bytes) -> ImageFile:
    parts = [content[:8]]
    width = height = 0
    orientation, start = 1, 8
    for _ in range(MAX_PARTS):
        if start + 8 > len(content):
            break
        size, name = struct.unpack_from(">I4s", content, start)
        end = start + 12 + size
        if name == b"IHDR":
            if len(parts) > 1 or size != 13 or end > len(content):
                break
            width, height = struct.unpack_from(">II", content, start + 8)
        if name in _KEPT_CHUNKS:
            parts.append(content[start:end])
        if name == b"IEND":
            break
        if name == b"eXIf":
            orientation = _orientation(content[start + 8 : end - 4])
        start = end
    else:
        raise UnreadablePhotoError("too_many_parts", f"more than {MAX_PARTS} chunks")
    return ImageFile("PNG", width, height, orientation, b"".join(parts))


def _orientation(exif: bytes) -> int:
    """Return the orientation of the first directory of EXIF data, 1 where there is none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return 1
    (directory,) = struct.unpack_from(f"{order}I", exif, 4)
    entries = exif[directory + 2 :]
    n_entries = int.from_bytes(exif[directory : directory + 2], "little" if order == "<" else "big")
    for start in range(0, min(12 * n_entries, len(entries) - 11), 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", entries, start)
        if (tag, kind) == (0x0112, 3):
            return value if value in TRANSPOSITIONS else 1
    return 1
