"""Study a set of photos labelled with ages before a model is trained on it: what is there, and where it will be weak.

Writes one self-contained page and prints its verdict. `labels.csv` alone is enough; photos in `final_files/` add
sizes, damage, copies and the noise of the labels, and `attributes.csv` counts by group. A damaged or missing photo
is a finding, not an error. The page shows faces: it is for the team that may see the photos.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from model.cli import InputError, run
from model.evaluation.metrics import Ages
from model.pages.page import Page
from model.photos.data import LabelledPhotos, read_labels
from model.study import age_study, sections
from model.study.age_study import LabelNoise
from model.study.photo_study import Photos, read_photos
from model.study.verdict import verdict


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of `python -m model.explore`."""

    data: Path
    """Labelled set: a folder with labels.csv and, if at hand, final_files/ and attributes.csv."""
    out: Path
    """The page to write, HTML."""


def study(labelled: LabelledPhotos, photos: Photos | None) -> tuple[list[str], Page]:
    """Return the verdict, and the page that shows what it rests on.

    Photos that can't be read can't be learnt from: where some can, they alone are studied.

    Args:
        labelled: what `read_labels` returns.
        photos: of the same set; None where there are labels alone.
    """
    shown = labelled.take(photos.readable) if photos is not None and photos.readable.any() else labelled
    noise = _noise(photos.copies) if photos is not None else None
    groups = shown.attributes
    by_attribute = age_study.per_attribute(shown.ages, groups) if groups else None
    findings = [
        *(_of_damage(photos.problems, len(labelled.ages)) if photos is not None else []),
        *verdict(
            shown.ages,
            noise=noise,
            by_attribute=by_attribute,
        ),
    ]
    page = Page(f"Photos labelled with ages: {labelled.folder.resolve().name}")
    if photos is None:
        page.notice("There is no folder final_files/, so only labels were studied: no files, copies or label noise.")
    else:
        page.notice(
            "This page shows photos of real people. It is for the team that may see them: do not pass it on, and "
            "delete it with the photos."
        )
    page.paragraph(f"Fingerprint of names and ages in labels.csv: {labelled.fingerprint}.")
    page.heading("Verdict")
    page.bullets(findings)
    sections.show_ages(page, shown.ages, _by_sex(shown.ages, groups.get("sex")))
    if by_attribute is not None:
        sections.show_groups(page, by_attribute)
    if photos is not None and noise is not None:
        sections.show_files(page, photos)
        sections.show_copies(page, photos.copies, noise, labelled.folder / "final_files")
        sections.show_faces(page, photos.copies, labelled.folder / "final_files")
    return findings, page


def _noise(copies: pd.DataFrame) -> LabelNoise:
    return age_study.label_noise(copies["age"].to_numpy(), copies["group"].to_numpy())


def _of_damage(problems: pd.DataFrame, n_labels: int) -> Iterator[str]:
    if len(problems):
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in Counter(problems["reason"]).most_common())
        yield f"{len(problems):,} of {n_labels:,} labelled photos can't be used ({reasons}); training stops at one."


def _by_sex(ages: Ages, sex: npt.NDArray[np.str_] | None) -> pd.DataFrame:
    """Count photos per age (101 rows): columns male and female where each photo is one of them, else all."""
    if sex is None or set(sex.tolist()) != {"male", "female"}:
        return pd.DataFrame({"all": age_study.photos_per_age(ages)})
    return pd.DataFrame({name: age_study.photos_per_age(ages[sex == name]) for name in ("male", "female")})


def main(settings: Settings) -> None:
    """Read, study, write, and print the verdict."""
    if settings.out.is_dir():
        raise InputError(f"out is {settings.out}, a folder; it must be the name of a page, such as study.html")
    labelled = read_labels(settings.data)
    findings, page = study(labelled, read_photos(labelled))
    page.write(settings.out)
    print("\n".join([*(f"- {finding}" for finding in findings), f"\n{settings.out}"]))


if __name__ == "__main__":
    run(main, Settings)
