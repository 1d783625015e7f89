"""Judge a model folder on a labelled set: errors, calibration and rules of thumb, with intervals and by group.

The network runs as it does at night: same class, same pixels, same precision. Where the set is the one that the
model was trained on, only the part that was held out is judged, and each of its photos is calibrated by the others,
because the stored calibration was learnt from them; any other set is judged whole, with the stored calibration.

Writes `judgement.json` and `judgement.html`. The page shows the 25 worst photos: it is for those who may
see them.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from model import calibration, checkpoint, judgement, plots, release
from model.cli import InputError, run
from model.data import LabelledPhotos, read_labels
from model.judgement import Predictions
from model.metrics import measure
from model.page import Page, face
from model.predict import AgePredictor

N_WORST = 25


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of `python -m model.evaluate`."""

    model: Path
    """Model folder."""
    data: Path
    """Labelled set: a folder with labels.csv, final_files/ and, for errors by group, attributes.csv."""
    against: Path | None = None
    """Another model folder, for a paired comparison on the same photos."""
    out: Path | None = None
    """Folder for judgement.json and judgement.html; MODEL.judgement beside the model folder unless given."""


def network_output(predictor: AgePredictor, labelled: LabelledPhotos) -> torch.Tensor:
    """Return what the network says of every photo, on the CPU: (N, 101) logits or (N, 1) years."""
    photos = labelled.pixels(predictor.image_size)
    starts = range(0, len(photos), predictor.batch_size)
    progress = tqdm(starts, "judge", unit="batch", delay=5)
    return torch.cat([predictor.output(photos[start : start + predictor.batch_size]).cpu() for start in progress])


def judged_part(labelled: LabelledPhotos, model: Path) -> tuple[LabelledPhotos, bool]:
    """Return the photos to judge by, and whether they are those that the model's calibration was learnt from.

    A set that has most of the model's held-out photos is the one it was trained on, even if photos have come or gone
    since: a photo never changes its side.
    """
    known = set(release.read_held_out(model)[["file_name", "real_age"]].itertuples(index=False, name=None))
    here = set(zip(labelled.file_names, labelled.ages.tolist(), strict=True))
    if len(known & here) <= len(known) / 2:
        return labelled, False
    share = checkpoint.read_card(model)["training"]["held_out_share"]
    return labelled.split(share, labelled.groups())[1], True


def judge(model: Path, labelled: LabelledPhotos) -> tuple[Predictions, LabelledPhotos, dict[str, Any]]:
    """Predict and judge; returns the predictions, the photos they are of, and all figures."""
    part, is_held_out = judged_part(labelled, model)
    predictor = AgePredictor(model)
    stored = None if is_held_out else predictor.calibration
    found = judgement.predictions(network_output(predictor, part), part.ages, stored)
    constant = checkpoint.read_card(model)["data"]["median_age_years"]
    tables = judgement.tables(found, part.attributes(), constant=constant)
    return (
        found,
        part,
        {
            "model_version": predictor.version,
            "photos": "held out from training" if is_held_out else "the whole set, calibrated as stored",
            "metrics": asdict(measure(found.age_years, found.ages, constant=constant)),
            **tables,
        },
    )


def compare(found: Predictions, part: LabelledPhotos, other: Path, labelled: LabelledPhotos) -> dict[str, Any]:
    """Judge another model on the same photos.

    Raises:
        InputError: those photos are not the ones that the other model would be judged by, so it may have learnt some.
    """
    theirs, other_part, figures = judge(other, labelled)
    if other_part.fingerprint != part.fingerprint:
        raise InputError(
            f"against is {other}, which held other photos of {labelled.folder} out; "
            "compare on a set that neither model has seen"
        )
    gain, verdict = judgement.compare(found.age_years, theirs.age_years, found.ages)
    return {
        "against": figures["model_version"],
        "their_mae_years": figures["metrics"]["mae_years"],
        "gain_years": gain._asdict(),
        "verdict": verdict,
    }


def judgement_page(figures: dict[str, Any], found: Predictions, part: LabelledPhotos, model: Path) -> Page:
    """Draw the figures of a judgement, and show the photos that it got most wrong."""
    page = Page(f"Age model {figures['model_version']}")
    page.notice("Shows photos of people: for those who may see them, and not to be passed on.")
    page.paragraph(f"Photos: {figures['photos']}.")
    page.table(pd.DataFrame([figures["metrics"]]), "Errors, years", 2)
    if "comparison" in figures:
        page.paragraph(f"Compared with {figures['comparison']['against']}: {figures['comparison']['verdict']}.")
    for name, frame in figures.items():
        if name.startswith("error_by_"):
            page.heading(name.replace("_", " ").capitalize())
            page.figure(plots.error_by_group(frame), f"Bars: mean absolute {name.replace('_', ' ')}")
            page.table(frame, "One row per group", 2)
    page.heading("Error against age")
    page.figure(plots.error_against_age(found), "Dots: error of each photo at its age")
    page.heading("Intervals and probabilities")
    page.table(figures["decisions"], "How often rules of thumb err", 3)
    if found.calibrated is not None:
        page.figure(plots.coverage(figures["coverage"]), "Dots: coverage by predicted decade")
        page.table(figures["coverage"], "Coverage of central intervals, before and after calibration", 3)
        page.figure(plots.reliability(figures["reliability"]), "Dots: stated probability and what became of it")
    page.heading("Predicted and true age")
    stored = json.loads((model / calibration.FILE).read_text(encoding="utf-8"))["error_kernel"]
    page.figure(plots.kernel(np.array(stored["probability"])), "Shades: probability of each prediction at each age")
    page.heading(f"The {N_WORST} worst photos")
    error = found.age_years - found.ages
    page.photos(
        (
            face(part.folder / "final_files" / part.file_names[row]),
            f"{part.file_names[row]}: age {found.ages[row]}, predicted {found.age_years[row]:.0f}",
        )
        for row in np.argsort(-np.abs(error))[:N_WORST]
    )
    return page


def main(settings: Settings) -> None:
    """Judge, print, write."""
    labelled = read_labels(settings.data)
    found, part, figures = judge(settings.model, labelled)
    if settings.against:
        figures["comparison"] = compare(found, part, settings.against, labelled)
    for name, value in figures.items():
        if isinstance(value, pd.DataFrame):
            print(
                f"\n{judgement.TITLES.get(name, name.replace('_', ' ').capitalize())}\n{value.to_string(index=False)}"
            )
        else:
            print(f"{name}: {value}")
    out = settings.out or settings.model.with_name(f"{settings.model.name}.judgement")
    out.mkdir(parents=True, exist_ok=True)
    judgement_page(figures, found, part, settings.model).write(out / "judgement.html")
    plain = {
        name: value.to_dict("records") if isinstance(value, pd.DataFrame) else value for name, value in figures.items()
    }
    draft = out / ".judgement.json"
    draft.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    draft.replace(out / "judgement.json")
    print(f"\n{out / 'judgement.html'}")


if __name__ == "__main__":
    run(main, Settings)
