"""Photos and labels.

A labelled set is a folder with `labels.csv` (`file_name,real_age`) and `final_files/`. Optional files: `attributes.csv`
(`file_name` and a column for each grouping, such as sex) and `TERMS.txt` (terms of use of the photos).
"""

import csv
import hashlib
import os
from collections.abc import Mapping, Sequence, Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from model.cli import InputError
from model.config import N_AGES
from model.photos.decoding import Pixels, decode_photo
from model.photos.duplicates import THUMBNAIL_SIZE, near_duplicates
from model.photos.image_file import UnreadablePhotoError

HELD_OUT_SHARE = 0.1
"""Default share of the photos that is held out."""

MAX_GROUPS = 20
"""Largest number of groups in a column of `attributes.csv`. With more, its values identify persons or places."""


@dataclass(frozen=True, kw_only=True)
class LabelledPhotos:
    """The rows of `labels.csv`, sorted by file name, with their groups from `attributes.csv`."""

    folder: Path
    file_names: list[str]
    ages: npt.NDArray[np.int64]  # (N,) completed years
    attributes: Mapping[str, npt.NDArray[np.str_]] = field(default_factory=dict)
    """Groups (N,) by column, only for reporting errors; `unknown` for a photo that is not listed."""

    @property
    def fingerprint(self) -> str:
        """Hash of names and ages in any order: equal if two models had the same labels."""
        rows = sorted(f"{name},{age}" for name, age in zip(self.file_names, self.ages, strict=True))
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]

    def take(self, rows: npt.NDArray[np.bool_]) -> "LabelledPhotos":
        """Return the rows where the mask (N,) is true."""
        names = [name for name, keep in zip(self.file_names, rows, strict=True) if keep]
        attributes = {column: groups[rows] for column, groups in self.attributes.items()}
        return replace(self, file_names=names, ages=self.ages[rows], attributes=attributes)

    def terms(self) -> str | None:
        """Return the text of `TERMS.txt`; None where there is none."""
        path = self.folder / "TERMS.txt"
        return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else None

    @cached_property
    def digests(self) -> list[str]:
        """Hash of the content of each file, computed once: identifies a photo whatever its name and label."""
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            return list(threads.map(lambda name: hashlib.sha256(self._content(name)).hexdigest()[:16], self.file_names))

    def groups(self) -> npt.NDArray[np.int64]:
        """Return the group (N,) of each photo, as `near_duplicates`."""
        return near_duplicates(self.pixels(THUMBNAIL_SIZE))

    def copies_of(self, digests: AbstractSet[str]) -> npt.NDArray[np.bool_]:
        """Return which photos (N,) have one of the digests, or are near-duplicates of one that has."""
        rows = np.array([digest in digests for digest in self.digests], bool)
        if rows.any():
            groups = self.groups()
            rows = np.isin(groups, groups[rows])
        return rows

    def split(self, held_out_share: float, groups: npt.NDArray[np.int64]) -> tuple["LabelledPhotos", "LabelledPhotos"]:
        """Split into a training and a held-out part, by `split_position` of the file name.

        A photo keeps its side when others are added or the seed changes, so that two models can be compared. The photos
        of a group are on the side of the one whose name comes first, so a new copy may move its group.
        """
        first_names: dict[int, str] = {}
        for name, group in sorted(zip(self.file_names, groups.tolist(), strict=True)):
            first_names.setdefault(group, name)
        position = np.array([split_position(first_names[group]) for group in groups.tolist()])
        is_held_out = position < held_out_share
        return self.take(~is_held_out), self.take(is_held_out)

    def pixels(self, image_size: int) -> Pixels:
        """Decode every photo: (N, image_size, image_size, 3). In memory: 0.6 GB for 16,000 photos at 112 pixels."""

        def decode(name: str) -> Pixels:
            try:
                return decode_photo(self._content(name), image_size)
            except UnreadablePhotoError as error:
                raise InputError(f"{self.folder / 'final_files' / name} can't be read: {error}") from None

        photos = np.empty((len(self.file_names), image_size, image_size, 3), np.uint8)
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            decoded = threads.map(decode, self.file_names)
            for row, photo in enumerate(tqdm(decoded, "decode", len(photos), unit="photo", delay=5)):
                photos[row] = photo
        return photos

    def _content(self, name: str) -> bytes:
        try:
            return (self.folder / "final_files" / name).read_bytes()
        except FileNotFoundError:
            raise InputError(f"labels.csv lists {name}, which is not in {self.folder / 'final_files'}") from None
        except OSError as error:
            raise InputError(f"{self.folder / 'final_files' / name} can't be read: {error.strerror}") from None


def split_position(file_name: str) -> float:
    """Return the position of a photo between 0 and 1: it is held out if that is below the held-out share.

    >>> [round(split_position(name), 2) for name in ("0.jpg", "1.jpg", "2.jpg")]
    [0.22, 0.3, 0.53]
    """
    digest = hashlib.sha256(file_name.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def read_labels(folder: Path) -> LabelledPhotos:
    """Read `labels.csv` and `attributes.csv` of a labelled set.

    Raises:
        InputError: `labels.csv` is missing or has no rows, a column is missing, a row has too many cells, an age is not
            a whole number from 0 to 100, a name is not a plain file name or is listed twice, or `attributes.csv` lists
            none of the photos.
    """
    path = folder / "labels.csv"
    if not path.is_file():
        raise InputError(f"{path} does not exist; a labelled set is a folder with labels.csv and final_files/")
    _, rows = _read_table(path, ["file_name", "real_age"])
    if not rows:
        raise InputError(f"{path} has no rows")
    ages = {row["file_name"]: _age(path, line, row["real_age"]) for line, row in rows}
    names = sorted(ages)  # so that the order of the file does not change the result of a seed
    return LabelledPhotos(
        folder=folder,
        file_names=names,
        ages=np.array([ages[name] for name in names]),
        attributes=_read_attributes(folder / "attributes.csv", names),
    )


def _read_attributes(path: Path, names: Sequence[str]) -> dict[str, npt.NDArray[np.str_]]:
    if not path.is_file():
        return {}
    columns, rows = _read_table(path, ["file_name"])
    if "decade" in columns:
        raise InputError(f"{path} has a column decade, which is the name of the groups by age; rename it")
    known = {row["file_name"]: row for _, row in rows}
    if not known.keys() & set(names):
        raise InputError(f"{path} lists none of the {len(names)} photos; file_name must be as in labels.csv")
    groups = {}
    for column in (name for name in columns if name != "file_name"):
        values = np.array([known.get(name, {}).get(column) or "unknown" for name in names])
        n_values = len(np.unique(values))
        if n_values <= MAX_GROUPS:
            groups[column] = values
        else:
            print(
                f"{path}: {column} has {n_values} values; errors are reported only by columns of at most {MAX_GROUPS}"
            )
    return groups


def _read_table(path: Path, wanted: Sequence[str]) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Return the columns, and each row with its line number; no photo is listed twice."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a byte order mark
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or [])
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} can't be read as a CSV file in UTF-8: {error}") from None
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise InputError(f"{path} lacks the column {missing[0]}; it has {columns}")
    seen: set[str] = set()
    for line, row in rows:
        name = row["file_name"]
        if None in row:
            raise InputError(f"{path} line {line} has more cells than the {len(columns)} of the header")
        if not name or name == ".." or name != Path(name).name:
            raise InputError(f"{path} line {line}: file_name is {name!r}; it must be a plain file name")
        if name in seen:
            raise InputError(f"{path} line {line}: {name} is listed twice")
        seen.add(name)
    return columns, rows


def _age(path: Path, line: int, text: str) -> int:
    if not (text or "").isdecimal() or not 0 <= int(text) < N_AGES:
        raise InputError(f"{path} line {line}: real_age is {text!r}; it must be a whole number from 0 to {N_AGES - 1}")
    return int(text)
