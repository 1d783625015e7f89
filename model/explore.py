"""Study a set of photos labelled with ages before a model is trained on it: how many of which age, and the weak spots.

Writes one self-contained page and prints its verdict. `labels.csv` alone is enough. With photos in `final_files/` the
study covers sizes, damage, copies and label noise, and with `attributes.csv` groups of people. A damaged or missing
photo is a finding, not an error. The page shows faces: it is for the team that may see the photos.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from model.cli import InputError, run
from model.evaluation.metrics import Ages, Groups
from model.pages import page
from model.photos.data import HELD_OUT_SHARE, LabelledPhotos, read_labels
from model.study import age_study, sections
from model.study.photo_study import Photos, read_photos
from model.study.verdict import verdict


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of `python -m model.explore`."""

    data: Path
    """Labelled set: a folder with labels.csv and, if available, final_files/ and attributes.csv."""
    out: Path
    """The page to write, HTML."""


def study(labelled: LabelledPhotos, photos: Photos | None) -> tuple[list[str], str]:
    """Return the verdict, and the HTML of the page that supports it.

    A model can't be trained on unreadable photos, so only readable ones are studied. If none is readable, all labels
    are.

    Args:
        labelled: what `read_labels` returns.
        photos: of the same set; None if there are only labels.
    """
    studied = labelled.take(photos.readable) if photos is not None and photos.readable.any() else labelled
    ages, attributes = studied.ages, studied.attributes
    by_attribute = age_study.per_attribute(ages, attributes) if attributes else None
    noise = None
    if photos is not None:
        noise = age_study.label_noise(photos.copies["age"].to_numpy(), photos.copies["group"].to_numpy())
    findings = [
        *(_of_damage(photos.problems, len(labelled.ages)) if photos is not None else []),
        *verdict(ages, noise=noise, by_attribute=by_attribute),
    ]
    files = copies = faces = None
    if photos is not None and noise is not None:
        folder = labelled.folder / "final_files"
        files = sections.files_section(photos)
        copies = sections.copies_section(photos.copies, noise, folder)
        faces = sections.faces_by_decade(photos.copies, folder)
    html = page.render(
        "explore.html.jinja",
        name=labelled.folder.resolve().name,
        fingerprint=labelled.fingerprint,
        findings=findings,
        ages=sections.ages_section(ages, _by_sex(ages, attributes.get("sex"))),
        held_out_share=HELD_OUT_SHARE,
        error_spread_years=age_study.ERROR_SPREAD_YEARS,
        few_per_age=sections.FEW_PER_AGE,
        groups=None if by_attribute is None else by_attribute.rename(columns={"median_age": "median age"}),
        files=files,
        copies=copies,
        faces_by_decade=faces,
    )
    return findings, html


def _of_damage(problems: pd.DataFrame, n_labels: int) -> Iterator[str]:
    if len(problems):
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in Counter(problems["reason"]).most_common())
        share = f"{len(problems):,} of {n_labels:,} labelled photos"
        yield f"{share} can't be used ({reasons}); training stops at the first."


def _by_sex(ages: Ages, sex: Groups | None) -> pd.DataFrame:
    """Count photos per age (101 rows): columns male and female if each photo is one of them, otherwise all."""
    if sex is None or set(sex.tolist()) != {"male", "female"}:
        return pd.DataFrame({"all": age_study.photos_per_age(ages)})
    return pd.DataFrame({name: age_study.photos_per_age(ages[sex == name]) for name in ("male", "female")})


def main(settings: Settings) -> None:
    """Read, study, write, and print the verdict."""
    if settings.out.is_dir():
        raise InputError(f"out is {settings.out}, a folder; it must be the name of a page, such as study.html")
    labelled = read_labels(settings.data)
    findings, html = study(labelled, read_photos(labelled))
    page.write(html, settings.out)
    print("\n".join([*(f"- {finding}" for finding in findings), f"\n{settings.out}"]))


if __name__ == "__main__":
    run(main, Settings)
