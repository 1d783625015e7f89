"""The parts of the page that `model.explore` writes."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from model.evaluation.metrics import DECADES, Ages, Range
from model.pages.page import Page, face
from model.photos.data import HELD_OUT_SHARE
from model.study import age_study, photo_study
from model.study.age_study import BANDS, SHARES, LabelNoise, per_range
from model.study.photo_study import Photos
from model.study.verdict import spans

FEW_PER_AGE = 15
N_LISTED = 50
N_CONFLICTS = 12
N_FACES = 8

_MALE, _FEMALE, _ALL = "#2f6ea8", "#d07b28", "#4a6b8a"
_COLOURS = {"male": _MALE, "female": _FEMALE, "all": _ALL}


def show_ages(page: Page, ages: Ages, sexes: pd.DataFrame) -> None:
    """Show how many photos there are of which age."""
    per_age = age_study.photos_per_age(ages)
    missing, commonest = age_study.missing_ages(per_age), int(per_age.argmax())
    page.heading("Ages")
    page.paragraph(
        f"{len(ages):,} photos of {np.count_nonzero(per_age)} ages from {ages.min()} to {ages.max()}; median "
        f"{np.median(ages):.0f}. The commonest age is {commonest}, with {per_age[commonest]:,} photos. "
        f"Ages between the youngest and the oldest without a photo: {spans(missing) if missing else 'none'}."
    )
    page.figure(
        draw_ages(100 * sexes / len(ages)),
        f"Bars: percent of photos at each age, most at age {commonest}",
    )
    page.table(_ranges(ages, SHARES), "Groups of ages, which overlap")
    page.table(_ranges(ages, BANDS), "Age bands")
    page.table(_ranges(ages, DECADES), "Decades")
    page.paragraph(
        f"Held out is the part of {HELD_OUT_SHARE:.0%} that would judge a model. Its mean absolute error "
        "would be known to plus or minus the last column (95 %), if absolute errors have a standard deviation of "
        f"{age_study.ERROR_SPREAD_YEARS:g} years."
    )
    page.heading("Rare ages", 3)
    names = ["least", "lower quartile", "median", "upper quartile", "most"]
    page.table(pd.DataFrame([age_study.quartiles(per_age)], columns=names), "Photos per age, of the ages that occur", 0)
    rarest = age_study.rarest_ages(per_age)
    page.figure(draw_rarest(rarest, per_age[rarest]), f"Bars: photos of the {len(rarest)} rarest ages, rarest first")
    thin = np.flatnonzero((per_age > 0) & (per_age < FEW_PER_AGE)).tolist()
    page.paragraph(f"Ages with fewer than {FEW_PER_AGE} photos: {spans(thin) if thin else 'none'}.")


def _ranges(ages: Ages, ranges: Mapping[str, Range]) -> pd.DataFrame:
    titles = {
        "name": "ages",
        "photos": "photos",
        "percent": "photos, %",
        "photos_per_age": "photos per age",
        "held_out": "held out",
        "error_width_years": "± years",
    }
    return pd.DataFrame(per_range(ages, ranges))[list(titles)].rename(columns=titles).replace(np.inf, np.nan)


def draw_ages(percent: pd.DataFrame) -> Figure:
    """Draw percent of photos per age (101 rows), ages upwards: columns male and female back to back, or all."""
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    edges = np.arange(len(percent) + 1) - 0.5
    for name, values in percent.items():
        side = -1 if name == "male" else 1
        axes.stairs(
            side * values, edges, orientation="horizontal", fill=True, color=_COLOURS[str(name)], label=str(name)
        )
    widest = 1.05 * float(percent.to_numpy().max())
    axes.set_xlim(-widest if "male" in percent else 0, widest)
    axes.set_ylim(-0.5, 100.5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("photos, % per year of age")
    axes.set_ylabel("age, years")
    if "male" in percent:
        axes.legend(frameon=False)
    return figure


def draw_rarest(ages: Ages, photos: Ages) -> Figure:
    """Draw the photos of the rarest ages, with a line where they are called thin."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.subplots()
    axes.bar([str(age) for age in ages], photos, color=_ALL)
    axes.axhline(FEW_PER_AGE, color=_FEMALE, linewidth=1, label=f"{FEW_PER_AGE} photos")
    axes.margins(x=0.01)
    axes.tick_params(axis="x", labelsize=7, rotation=90)
    axes.set_xlabel("age, years")
    axes.set_ylabel("photos")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def show_files(page: Page, photos: Photos) -> None:
    """Show sizes, damage, and files that no label names."""
    page.heading("Files")
    sizes = Counter(photos.sizes).most_common(N_LISTED)
    page.table(pd.DataFrame(sizes, columns=["size in pixels, format", "photos"]), "Sizes, the commonest first")
    n = len(photos.problems)
    if n:
        page.paragraph(f"Labelled photos that are missing or can't be read: {n:,}, left out of everything else here.")
        reasons = Counter(photos.problems["reason"]).most_common()
        page.table(pd.DataFrame(reasons, columns=["reason", "photos"]), "Why")
        page.table(photos.problems.head(N_LISTED), f"The first {min(n, N_LISTED)} of them")
    else:
        page.paragraph("Every labelled photo is there and can be read.")
    listed = f": {', '.join(photos.unlabelled[:N_LISTED])}" if photos.unlabelled else ""
    more = ", ..." if len(photos.unlabelled) > N_LISTED else ""
    page.paragraph(f"Files in final_files/ without a label: {len(photos.unlabelled):,}{listed}{more}.")


def show_groups(page: Page, by_attribute: pd.DataFrame) -> None:
    """Show the counts of each group, for judging errors by group."""
    page.heading("Groups of people")
    page.table(by_attribute.rename(columns={"median_age": "median age"}), "Photos of each group, by age band", 0)


def show_copies(page: Page, copies: pd.DataFrame, noise: LabelNoise, folder: Path) -> None:
    """Show pictures that come more than once, and how far their labels are apart."""
    repeated, conflicts = photo_study.repeated(copies), photo_study.conflicts(copies)
    page.heading("Copies and the noise of the labels")
    page.paragraph(
        f"{repeated['group'].nunique():,} pictures come more than once, in {len(repeated):,} files. Of these, "
        f"{repeated['digest'].duplicated(keep=False).sum():,} are byte for byte the same as another file; the others "
        "are recompressed, resized, recoloured or mirrored."
    )
    page.paragraph(
        f"{noise.n_conflicts:,} of these pictures carry different ages. Two labels of one picture are a direct "
        "estimate of the noise of the labels: their mean difference, divided by the root of 2, is the mean error of "
        "one label, and no model can show less on such labels. The estimate is too low where a label was copied "
        "along with its picture or conflicting copies were removed before, and too high where two people were taken "
        "for one."
    )
    if not len(noise.gaps_years):
        return
    page.table(
        pd.DataFrame(
            {
                "mean error of a label, years": [noise.error_years.estimate],
                "95 %, from": [noise.error_years.low],
                "to": [noise.error_years.high],
                "furthest apart, years": [noise.gaps_years.max()],
            }
        ),
        f"Noise of the labels, from {len(noise.gaps_years):,} pictures",
        2,
    )
    apart = pd.cut(noise.gaps_years, [-1, 0, 1, 2, 5, 10, 100], labels=["0", "1", "2", "3-5", "6-10", "over 10"])
    counted = pd.Series(apart, name="years apart").value_counts(sort=False).reset_index(name="pictures")
    page.table(counted, "How far apart the labels of a picture are")
    page.photos(
        (face(folder / name), f"{name}: {age}")
        for row in conflicts.head(N_CONFLICTS).to_dict("records")
        for name, age in ((row["youngest"], row["low"]), (row["oldest"], row["high"]))
    )


def show_faces(page: Page, copies: pd.DataFrame, folder: Path) -> None:
    """Show a few photos of each decade, drawn by the hash of the file: the same at every run."""
    page.heading("Faces")
    drawn = copies.sort_values("digest").drop_duplicates("group")
    for decade, (low, high) in DECADES.items():
        of_decade = drawn[drawn["age"].between(low, high)].head(N_FACES).sort_values("age", kind="stable")
        if len(of_decade):
            page.heading(f"{decade} years", 3)
            page.photos((face(folder / row["file_name"]), f"{row['age']}") for row in of_decade.to_dict("records"))
