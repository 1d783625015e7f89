"""Judge a model folder on a labelled set: errors, calibration and rules of thumb, with intervals and by group.

The network runs as it does at night: same class, same pixels, same precision. It is judged by the photos of the set
that it has not learnt, and with --against by those that neither model has. Where the stored calibration was learnt
from some of them, each photo is calibrated by the others instead.

Writes `judgement.json` and `judgement.html`. The page shows the 25 worst photos: it is for those who may
see them.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from model.cli import InputError, run
from model.evaluation import calibration, judgement, plots
from model.evaluation.judgement import Predictions
from model.evaluation.metrics import measure
from model.pages.page import Page, face
from model.photos.data import LabelledPhotos, read_labels
from model.predict import AgePredictor, network_output
from model.release import checkpoint, contents as release

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
    """Folder for judgement.json and judgement.html; NAME-OF-MODEL.judgement where you are unless given."""


def unlearnt(labelled: LabelledPhotos, models: Sequence[Path]) -> LabelledPhotos:
    """Return the photos that none of the models was trained on, nor on a copy of them that is in the set.

    Raises:
        InputError: there are fewer than two, or a folder does not tell what was learnt.
    """
    for model in models:
        checkpoint.read_model_json(model)  # says so where there is no model at all
    learnt = set[str]().union(*(release.learnt_photos(model) for model in models))
    known = np.array([digest in learnt for digest in labelled.digests])
    if known.any():
        groups = labelled.groups()
        known = np.isin(groups, groups[known])
    part = labelled.take(~known)
    if len(part.ages) < 2:
        raise InputError(
            f"{labelled.folder} has {len(part.ages)} photos that the models were not trained on; bring more"
        )
    return part


def judge(model: Path, part: LabelledPhotos) -> tuple[Predictions, dict[str, Any]]:
    """Predict and judge photos that the model has not learnt; returns the predictions and all figures.

    Where some of them are what its calibration was learnt from, each is calibrated by the others instead.
    """
    predictor = AgePredictor(model)
    held_out = np.isin(part.digests, release.read_held_out(model)["digest"])
    calibrated = predictor.calibration and predictor.calibration.to(torch.device("cpu"))
    found = judgement.predictions(network_output(predictor, part), part.ages, held_out, calibrated)
    constant = checkpoint.read_model_json(model)["data"]["median_age_years"]
    return found, {
        "model_version": predictor.version,
        "calibrated_by_each_other": int(held_out.sum()),
        "metrics": asdict(measure(found.age_years, found.ages, constant=constant)),
        **judgement.tables(found, part.attributes, constant=constant),
    }


def compare(found: Predictions, other: Path, part: LabelledPhotos) -> dict[str, Any]:
    """Judge another model on the same photos, which it has not learnt either."""
    theirs, figures = judge(other, part)
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
    page.paragraph(
        f"{len(part.ages):,} photos that the model has not learnt. What is stored was calibrated by "
        f"{figures['calibrated_by_each_other']:,} of them: here each of these is calibrated by the others."
    )
    page.table(pd.DataFrame([figures["metrics"]]), "Errors, years", 2)
    if "comparison" in figures:
        page.paragraph(f"Compared with {figures['comparison']['against']}: {figures['comparison']['verdict']}.")
    for name, frame in figures.items():
        if name.startswith("error_by_"):
            page.heading(judgement.title(name))
            page.figure(plots.error_by_group(frame), f"Bars: mean absolute {name.replace('_', ' ')}")
            page.table(frame, "One row per group", 2)
    if "at_equal_age" in figures:
        page.table(figures["at_equal_age"], judgement.title("at_equal_age"), 2)
    page.heading("Error against age")
    page.figure(plots.error_against_age(found), "Dots: error of each photo at its age")
    page.heading("Intervals and probabilities")
    page.table(figures["decisions"], judgement.title("decisions"), 3)
    if found.calibrated is not None:
        page.figure(plots.coverage(figures["coverage"]), "Dots: coverage by predicted decade")
        page.table(figures["coverage"], judgement.title("coverage"), 3)
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
    model = settings.model.resolve()  # a promotion may move the link while we judge
    other = settings.against and settings.against.resolve()
    part = unlearnt(read_labels(settings.data), [model, other] if other else [model])
    found, figures = judge(model, part)
    if other:
        figures["comparison"] = compare(found, other, part)
    for name, value in figures.items():
        if isinstance(value, pd.DataFrame):
            print(f"\n{judgement.title(name)}\n{value.to_string(index=False)}")
        else:
            print(f"{name}: {value}")
    out = settings.out or Path(f"{model.name}.judgement")  # never into a store, which others read
    out.mkdir(parents=True, exist_ok=True)
    judgement_page(figures, found, part, model).write(out / "judgement.html")
    draft = out / ".judgement.json"
    plain = {
        name: value.to_dict("records") if isinstance(value, pd.DataFrame) else value for name, value in figures.items()
    }
    draft.write_text(pd.Series(plain).to_json(indent=2) + "\n", encoding="utf-8")  # NaN, which is no JSON, as null
    draft.replace(out / "judgement.json")
    print(f"\n{out / 'judgement.html'}")


if __name__ == "__main__":
    run(main, Settings)
