"""The sections of the page that `model.explore` writes, as data for `explore.html.jinja`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from model.evaluation.metrics import BANDS, DECADES, Ages, Range
from model.pages.page import Photo, face, svg_uri
from model.study import age_study, photo_study, plots
from model.study.age_study import SHARES, LabelNoise, per_range
from model.study.photo_study import Photos
from model.study.verdict import spans

FEW_PER_AGE = 15
"""An age with fewer photos is thin."""

N_LISTED = 50
N_CONFLICTS = 12
N_FACES = 8


@dataclass(frozen=True, kw_only=True)
class AgesSection:
    """Photos by age."""

    n_photos: int
    n_ages: int
    youngest: int
    oldest: int
    median: float
    commonest: int
    n_commonest: int
    missing: str
    """Ages without a photo between the youngest and the oldest, such as `31-32`; empty if there are none."""
    thin: str
    """Ages with fewer than `FEW_PER_AGE` photos, written in the same way."""
    plot: str
    ranges: Mapping[str, pd.DataFrame]
    """Tables by caption."""
    quartiles: pd.DataFrame
    n_rarest: int
    rarest_plot: str


def ages_section(ages: Ages, sexes: pd.DataFrame) -> AgesSection:
    """Count the photos with `ages` (N,).

    Args:
        ages: of all photos.
        sexes: photos per age (101 rows), as `plots.pyramid` takes them.
    """
    per_age = age_study.photos_per_age(ages)
    commonest, rarest = int(per_age.argmax()), age_study.rarest_ages(per_age)
    quartiles = ["least", "lower quartile", "median", "upper quartile", "most"]
    return AgesSection(
        n_photos=len(ages),
        n_ages=int(np.count_nonzero(per_age)),
        youngest=int(ages.min()),
        oldest=int(ages.max()),
        median=float(np.median(ages)),
        commonest=commonest,
        n_commonest=int(per_age[commonest]),
        missing=spans(age_study.missing_ages(per_age)),
        thin=spans(np.flatnonzero((per_age > 0) & (per_age < FEW_PER_AGE)).tolist()),
        plot=svg_uri(plots.pyramid(100 * sexes / len(ages))),
        ranges={
            "Groups of ages, which overlap": _range_table(ages, SHARES),
            "Age bands": _range_table(ages, BANDS),
            "Decades": _range_table(ages, DECADES),
        },
        quartiles=pd.DataFrame([age_study.quartiles(per_age)], columns=quartiles),
        n_rarest=len(rarest),
        rarest_plot=svg_uri(plots.rarest(rarest, per_age[rarest], FEW_PER_AGE)),
    )


def _range_table(ages: Ages, ranges: Mapping[str, Range]) -> pd.DataFrame:
    titles = {
        "name": "ages",
        "photos": "photos",
        "percent": "photos, %",
        "photos_per_age": "photos per age",
        "held_out": "held out",
        "error_width_years": "± years",
    }
    return pd.DataFrame(per_range(ages, ranges))[list(titles)].rename(columns=titles).replace(np.inf, np.nan)


@dataclass(frozen=True, kw_only=True)
class FilesSection:
    """Sizes, damage, and files without a label. Tables and lists are cut at `N_LISTED`."""

    sizes: pd.DataFrame
    n_problems: int
    reasons: pd.DataFrame
    problems: pd.DataFrame
    n_unlabelled: int
    unlabelled: list[str]


def files_section(photos: Photos) -> FilesSection:
    """Count the files of a set."""
    sizes = Counter(photos.sizes).most_common(N_LISTED)
    reasons = Counter(photos.problems["reason"]).most_common()
    return FilesSection(
        sizes=pd.DataFrame(sizes, columns=["size in pixels, format", "photos"]),
        n_problems=len(photos.problems),
        reasons=pd.DataFrame(reasons, columns=["reason", "photos"]),
        problems=photos.problems.head(N_LISTED),
        n_unlabelled=len(photos.unlabelled),
        unlabelled=photos.unlabelled[:N_LISTED],
    )


@dataclass(frozen=True, kw_only=True)
class CopiesSection:
    """Pictures that occur more than once, and how much their labels differ."""

    n_pictures: int
    n_files: int
    n_identical: int
    """Files that are byte for byte the same as another one."""
    n_conflicts: int
    noise: pd.DataFrame
    gaps: pd.DataFrame
    conflicts: list[Photo]


def copies_section(copies: pd.DataFrame, noise: LabelNoise, folder: Path) -> CopiesSection:
    """Compare the labels of copies.

    Args:
        copies: as in `Photos`.
        noise: of the same photos.
        folder: of the photos.
    """
    repeated, conflicts = photo_study.repeated(copies), photo_study.conflicts(copies)
    gaps = pd.cut(noise.gaps_years, [-1, 0, 1, 2, 5, 10, 100], labels=["0", "1", "2", "3-5", "6-10", "over 10"])
    return CopiesSection(
        n_pictures=repeated["group"].nunique(),
        n_files=len(repeated),
        n_identical=int(repeated["digest"].duplicated(keep=False).sum()),
        n_conflicts=noise.n_conflicts,
        noise=pd.DataFrame(
            {
                "mean error of a label, years": [noise.error_years.estimate],
                "95 %, from": [noise.error_years.low],
                "to": [noise.error_years.high],
                "largest difference, years": [noise.gaps_years.max(initial=0)],
            }
        ),
        gaps=pd.Series(gaps, name="difference, years").value_counts(sort=False).reset_index(name="pictures"),
        conflicts=[
            Photo(face(folder / name), f"{name}: {age}")
            for row in conflicts.head(N_CONFLICTS).to_dict("records")
            for name, age in ((row["youngest"], row["low"]), (row["oldest"], row["high"]))
        ],
    )


def faces_by_decade(copies: pd.DataFrame, folder: Path) -> dict[str, list[Photo]]:
    """Return a few photos of each decade, chosen by the hash of the file: the same in every run."""
    chosen = copies.sort_values("digest").drop_duplicates("group")
    faces = {}
    for decade, (low, high) in DECADES.items():
        rows = chosen[chosen["age"].between(low, high)].head(N_FACES).sort_values("age", kind="stable")
        if len(rows):
            faces[decade] = [Photo(face(folder / row["file_name"]), f"{row['age']}") for row in rows.to_dict("records")]
    return faces
