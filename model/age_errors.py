"""The pairs of true and estimated ages behind the error kernel of a model, for the nightly jobs.

They are the held-out photos of the model folder, or photos with known ages from the chain's own tills. The second is
better: a camera above a till makes other errors than the photos of a labelled set.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from model import kernel
from model.cli import InputError
from model.config import N_AGES
from model.photos.image_file import UnreadablePhotoError
from model.predict import score_photos
from model.release import checkpoint

HELD_OUT = "held_out"
KERNEL_PHOTOS = "kernel_photos"


@dataclass(frozen=True, kw_only=True)
class AgeErrors:
    """Pairs of a true and an estimated age."""

    source: str
    """`HELD_OUT` or `KERNEL_PHOTOS`."""
    true_years: npt.NDArray[np.int64]  # (N,) completed years
    estimated_years: npt.NDArray[np.float64]  # (N,)
    remark: str
    """Where the pairs are from, which photos were left out, or why there are no pairs."""

    version: str | None
    """Identifies the pairs, 12 hexadecimal digits; None if there are none. For photos, it is a hash of the files and
    their ages: estimates differ in the last digits between machines, and dates of other versions share no window.
    """

    @property
    def summary(self) -> str:
        """One line for the log: how many pairs there are and what follows if there are too few."""
        n = len(self.true_years)
        text = f"{n} pairs of a true and an estimated age, {self.remark}"
        if n >= kernel.MIN_PAIRS:
            return f"{text}, kernel version {self.version}"
        return f"{text}; affinity indices are corrected from {kernel.MIN_PAIRS} pairs, so they are not corrected"


def read(model: Path, kernel_photos: Path | None) -> AgeErrors:
    """Return the pairs of a model: of `kernel_photos` if they are given, otherwise of the model folder.

    Raises:
        InputError: as `of_held_out` and `of_photos`.
    """
    return of_photos(model, kernel_photos) if kernel_photos else of_held_out(model)


def of_held_out(model: Path) -> AgeErrors:
    """Return the pairs in `held_out.csv` of a model folder; none if it is missing or closed to this user.

    Raises:
        InputError: the file is not a table with the columns `real_age`, 0 to 100, and `age_years`.
    """
    path = model / checkpoint.HELD_OUT
    if not path.is_file():
        return _no_pairs(f"{model} has no {checkpoint.HELD_OUT}")
    if not os.access(path, os.R_OK):
        return _no_pairs(f"{path} is readable by its owner and group only")
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:  # pandas raises subclasses of ValueError
        raise InputError(f"{path} can't be read as a CSV file in UTF-8: {error}") from None
    for column in ("real_age", "age_years"):
        if column not in frame:
            raise InputError(f"{path} lacks the column {column}; it has {list(frame.columns)}")
    true, estimated = (pd.to_numeric(frame[column], errors="coerce") for column in ("real_age", "age_years"))
    is_pair = true.between(0, N_AGES - 1) & (true % 1 == 0) & np.isfinite(estimated)
    if not is_pair.all():
        row = int(np.argmin(is_pair))
        raise InputError(
            f"{path} row {row + 1}: real_age is {frame['real_age'][row]!r} and age_years {frame['age_years'][row]!r}; "
            f"they must be a whole number from 0 to {N_AGES - 1} and a number"
        )
    return AgeErrors(
        source=HELD_OUT,
        true_years=true.to_numpy(np.int64),
        estimated_years=estimated.to_numpy(np.float64),
        remark=f"held out by {model.name}",
        version=kernel.version(true.to_numpy(np.int64), estimated.to_numpy(np.float64)) if len(frame) else None,
    )


def _no_pairs(reason: str) -> AgeErrors:
    return AgeErrors(
        source=HELD_OUT, true_years=np.empty(0, np.int64), estimated_years=np.empty(0), remark=reason, version=None
    )


def of_photos(model: Path, folder: Path) -> AgeErrors:
    """Score a labelled set and return its pairs, without unreadable photos and those that the model was trained on.

    Args:
        model: model folder, with `learnt_photos.txt`.
        folder: a labelled set: `labels.csv` and `final_files/`.

    Raises:
        InputError: the folder is not a labelled set, no photo is left, or the model folder does not list its training
            photos.
    """
    # Here, because without such photos the driver needs neither torch nor what writes a model folder.
    from tqdm import tqdm  # noqa: PLC0415

    from model.photos.data import read_labels  # noqa: PLC0415
    from model.predictor import AgePredictor  # noqa: PLC0415
    from model.release import contents  # noqa: PLC0415

    learnt = contents.training_digests(model)
    labelled = read_labels(folder)
    if not (folder / "final_files").is_dir():
        raise InputError(f"{folder} has no folder final_files, which contains the photos that labels.csv lists")

    def content(name: str) -> bytes:
        try:
            return (folder / "final_files" / name).read_bytes()
        except OSError as error:
            raise UnreadablePhotoError("file_unreadable", error.strerror or type(error).__name__) from None

    scores = score_photos(AgePredictor(model), labelled.file_names, content, n_threads=2)
    progress = tqdm(scores, "score kernel photos", len(labelled.file_names), unit="photo", delay=10)
    estimated = np.array([np.nan if score.age_years is None else score.age_years for score in progress])
    readable = np.isfinite(estimated)
    scored = labelled.take(readable)
    is_new = ~scored.copies_of(learnt)
    n_unreadable, n_learnt = int((~readable).sum()), int((~is_new).sum())
    left_out = f"{n_unreadable} unreadable and {n_learnt} that the model was trained on left out"
    if not is_new.any():
        raise InputError(f"none of the {len(readable)} photos of {folder} can be used: {left_out}")
    used = [f"{digest} {age}" for digest, age, new in zip(scored.digests, scored.ages, is_new, strict=True) if new]
    return AgeErrors(
        source=KERNEL_PHOTOS,
        true_years=scored.ages[is_new],
        estimated_years=estimated[readable][is_new].round(4),
        remark=f"photos of {folder}, {left_out}",
        version=hashlib.sha256("\n".join(sorted(used)).encode()).hexdigest()[:12],
    )
