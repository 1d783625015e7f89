"""Statistics of the files in a labelled photo set: sizes, damage, files without a label, and copies of a picture."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from model.photos import image_file
from model.photos.data import LabelledPhotos
from model.photos.decoding import Pixels, decode_photo
from model.photos.duplicates import THUMBNAIL_SIZE, near_duplicates
from model.photos.image_file import UnreadablePhotoError


class Photo(NamedTuple):
    """The facts about a readable photo that the study needs."""

    digest: bytes
    size: str
    thumbnail: Pixels


@dataclass(frozen=True, kw_only=True)
class Photos:
    """The N labelled photos of a set, R of which can be read."""

    readable: npt.NDArray[np.bool_]  # (N,)
    copies: pd.DataFrame
    """One row per readable photo, in the order of the labels: `file_name`, `age`, `digest` of the file, and `group`:
    copies of a picture have the same group."""
    sizes: list[str]  # (R,) such as "200 x 200 JPEG"
    problems: pd.DataFrame
    """`file_name`, `reason` and `detail` of photos that can't be read or are missing."""
    unlabelled: list[str]
    """Files without a label."""


def read_photo(path: Path) -> Photo:
    """Read one photo.

    Raises:
        UnreadablePhotoError: it is missing, or not a photo.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UnreadablePhotoError("file_missing", "labels.csv names it") from None
    except OSError as error:
        raise UnreadablePhotoError("file_unreadable", error.strerror or "") from None
    thumbnail = decode_photo(content, THUMBNAIL_SIZE)
    file = image_file.parse(content)
    return Photo(hashlib.sha256(content).digest(), f"{file.width} x {file.height} {file.kind}", thumbnail)


def read_photos(labelled: LabelledPhotos) -> Photos | None:
    """Read every photo once; None if the set has no folder of photos."""
    folder = labelled.folder / "final_files"
    if not folder.is_dir():
        return None

    def read(name: str) -> Photo | UnreadablePhotoError:
        try:
            return read_photo(folder / name)
        except UnreadablePhotoError as error:
            return error

    names = labelled.file_names
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        results = list(tqdm(threads.map(read, names), "read", len(names), unit="photo", delay=5))
    photos = [result for result in results if isinstance(result, Photo)]
    thumbnails = np.array([photo.thumbnail for photo in photos], np.uint8)
    readable = np.array([isinstance(result, Photo) for result in results])
    problems = [
        (name, problem.reason, problem.detail)
        for name, problem in zip(names, results, strict=True)
        if isinstance(problem, UnreadablePhotoError)
    ]
    files = {entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")}
    return Photos(
        readable=readable,
        copies=pd.DataFrame(
            {
                "file_name": [name for name, keep in zip(names, readable, strict=True) if keep],
                "age": labelled.ages[readable],
                "digest": [photo.digest for photo in photos],
                "group": near_duplicates(thumbnails) if photos else np.zeros(0, np.int64),
            }
        ),
        sizes=[photo.size for photo in photos],
        problems=pd.DataFrame(problems, columns=["file_name", "reason", "detail"]),
        unlabelled=sorted(files - set(names)),
    )


def repeated(copies: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `copies` whose picture occurs more than once."""
    return copies[copies.groupby("group")["group"].transform("size") > 1]


def conflicts(copies: pd.DataFrame) -> pd.DataFrame:
    """Return one row per picture with different ages: `youngest`, `oldest` (file names), `low`, `high`, `years` apart.

    The largest difference comes first.
    """
    by_age = repeated(copies).sort_values(["group", "age", "file_name"]).groupby("group")
    ends = by_age.agg(
        youngest=("file_name", "first"), oldest=("file_name", "last"), low=("age", "first"), high=("age", "last")
    )
    ends["years"] = ends["high"] - ends["low"]
    return ends[ends["years"] > 0].sort_values(["years", "youngest"], ascending=[False, True]).reset_index(drop=True)
