"""Decode an image file to the pixels of the network. Training, evaluation and scoring decode photos in the same way."""

import io
from contextlib import nullcontext
from threading import BoundedSemaphore

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from model.photos import image_file
from model.photos.image_file import UnreadablePhotoError

Pixels = npt.NDArray[np.uint8]

MAX_PHOTO_BYTES = 32 * 2**20

LARGE_PHOTO_PIXELS = 4_000_000

_large_photos = BoundedSemaphore(4)
"""Larger photos are decoded at most four at a time in a process, whatever its number of threads. A photo takes up to 8
bytes a pixel, so the largest take 200 MB each and, of 32 threads, the other 28 at most 32 MB each."""


def decode_photo(content: bytes, image_size: int) -> Pixels:
    """Decode one image file to RGB pixels (image_size, image_size, 3).

    The photo is cropped to the centre square and rotated by its EXIF orientation. A JPEG is decoded at the smallest
    scale that still covers the output, which saves most of the work on a large photo.

    Raises:
        UnreadablePhotoError: the content is not a photo, or would cost too much to decode.

    >>> file = io.BytesIO()
    >>> Image.new("RGB", (80, 60), "red").save(file, "PNG")
    >>> decode_photo(file.getvalue(), 2).tolist()
    [[[255, 0, 0], [255, 0, 0]], [[255, 0, 0], [255, 0, 0]]]
    >>> decode_photo(b"", 2)
    Traceback (most recent call last):
    ...
    model.photos.image_file.UnreadablePhotoError: file_empty: 0 bytes
    """
    if not content:
        raise UnreadablePhotoError("file_empty", "0 bytes")
    if len(content) > MAX_PHOTO_BYTES:
        raise UnreadablePhotoError("file_too_large", f"{len(content)} bytes")
    file = image_file.parse(content)
    try:
        image = Image.open(io.BytesIO(file.content), formats=[file.kind])
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  on damaged files Pillow raises anything, such as DecompressionBombError
        raise UnreadablePhotoError("not_an_image", f"{len(content)} bytes, a damaged {file.kind}") from None
    if image.size != (file.width, file.height):  # the limits were checked for another picture
        sizes = "{} x {} pixels; its decoder finds {} x {}".format(file.width, file.height, *image.size)
        raise UnreadablePhotoError("not_an_image", f"{len(content)} bytes, {file.kind} of {sizes}")
    is_large = file.width * file.height > LARGE_PHOTO_PIXELS
    try:
        with _large_photos if is_large else nullcontext():
            square = _square(image, image_size)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  on damaged files Pillow raises anything
        raise UnreadablePhotoError("truncated", f"{len(content)} bytes, {error}") from None
    if file.orientation in image_file.TRANSPOSITIONS:
        square = square.transpose(image_file.TRANSPOSITIONS[file.orientation])
    return np.asarray(square)


def _square(image: Image.Image, image_size: int) -> Image.Image:
    size = (image_size, image_size)
    image.draft("RGB", size)
    if image.mode.startswith("I;16"):  # convert would make all but the darkest shades white
        image = image.point(lambda shade: shade * (1 / 256))
    colours = image if image.mode == "RGB" else image.convert("RGB")
    return ImageOps.fit(colours, size, Image.Resampling.BILINEAR, centering=(0.5, 0.5))
