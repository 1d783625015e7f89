import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from model.photos.decoding import decode_photo
from model.photos.duplicates import THUMBNAIL_SIZE, near_duplicates


def picture(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (200, 200, 3), np.uint8)
    return Image.fromarray(noise).filter(ImageFilter.GaussianBlur(25)).point(lambda shade: (shade - 128) * 8 + 128)


def thumbnail(image, **options):
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return decode_photo(file.getvalue(), THUMBNAIL_SIZE)


@pytest.mark.parametrize(
    "copy",
    [
        lambda image: image,
        lambda image: image.resize((90, 90)),
        ImageOps.mirror,
        lambda image: ImageOps.grayscale(image).convert("RGB"),
        lambda image: ImageEnhance.Brightness(image).enhance(0.8),
        lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    ],
    ids=["recompressed", "smaller", "mirrored", "grey", "darker", "blurred"],
)
def test_copy_is_grouped_with_its_original_only(copy):
    pictures = [thumbnail(picture(seed)) for seed in range(20)]
    changed = thumbnail(copy(picture(7)), quality=40)
    assert near_duplicates(np.stack([*pictures, changed])).tolist() == [*range(20), 7]


def test_copies_of_copies_form_one_group():
    original, other = thumbnail(picture(1)), thumbnail(picture(2))
    grey = thumbnail(ImageOps.grayscale(picture(1)).convert("RGB"))
    mirrored = thumbnail(ImageOps.mirror(picture(1)))
    assert near_duplicates(np.stack([grey, other, mirrored, original])).tolist() == [0, 1, 0, 0]


def test_photos_of_one_colour_have_no_near_duplicates():
    flat = np.full((3, THUMBNAIL_SIZE, THUMBNAIL_SIZE, 3), 200, np.uint8)
    assert near_duplicates(flat).tolist() == [0, 1, 2]


def test_no_photos_give_no_groups():
    assert near_duplicates(np.empty((0, THUMBNAIL_SIZE, THUMBNAIL_SIZE, 3), np.uint8)).tolist() == []


def test_groups_are_found_across_chunks(monkeypatch):
    pictures = np.stack([thumbnail(picture(seed % 5)) for seed in range(12)])
    whole = near_duplicates(pictures)
    monkeypatch.setattr("model.photos.duplicates._ROWS_PER_STEP", 4)
    assert near_duplicates(pictures).tolist() == whole.tolist() == [seed % 5 for seed in range(12)]
