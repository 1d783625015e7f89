"""Evaluate a model folder on a labelled set: errors, calibration and age rules, with intervals and by group.

The network runs as in the nightly job: same class, same pixels, same precision. It is evaluated on the photos that it
was not trained on; with --against, on those that neither model was trained on. If the stored calibration was fitted to
some of them, each of these is calibrated by the others instead.

Writes `evaluation.json` and `evaluation.html`. The page shows the 25 worst photos: it is for the team that may see
them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from model import kernel
from model.cli import InputError, run
from model.evaluation import kernel_tables, metrics, plots
from model.evaluation.metrics import Interval, Metrics, measure
from model.evaluation.predictions import Predictions, predictions
from model.evaluation.tables import all_tables, title
from model.pages import page
from model.pages.page import Photo, svg_uri
from model.photos.data import LabelledPhotos, read_labels
from model.predictor import AgePredictor, network_output
from model.release import checkpoint, contents

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
    """Folder for evaluation.json and evaluation.html. Default: NAME-OF-MODEL.evaluation in the current folder."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Figures of a model on photos that it was not trained on; the names are those in `evaluation.json`."""

    model_version: str
    n_cross_calibrated: int
    """Photos that the stored calibration was fitted to; each is calibrated by the others instead."""
    metrics: Metrics
    tables: dict[str, pd.DataFrame]
    """As `all_tables` and `kernel_tables.tables` return them."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Paired comparison with another model on the same photos; the names are those in `evaluation.json`."""

    against: str
    """Version of the other model."""
    other_mae_years: float
    gain_years: Interval
    """By how much the MAE of the other model is larger."""
    verdict: str


def not_trained_on(labelled: LabelledPhotos, models: Sequence[Path]) -> LabelledPhotos:
    """Return the photos of which none of the models was trained on any copy.

    Raises:
        InputError: there are fewer than two, or a model folder does not list its training photos.
    """
    for model in models:
        checkpoint.read_model_json(model)  # a missing model folder gets an error of its own
    digests = set[str]().union(*(contents.training_digests(model) for model in models))
    photos = labelled.take(~labelled.copies_of(digests))
    if len(photos.ages) < 2:
        raise InputError(
            f"{labelled.folder} has {len(photos.ages)} photos that the models were not trained on; add more"
        )
    return photos


def evaluate(model: Path, photos: LabelledPhotos) -> tuple[Predictions, Evaluation]:
    """Predict the ages of photos that the model was not trained on, and measure the errors."""
    predictor = AgePredictor(model)
    pairs = contents.read_held_out(model)
    held_out = np.isin(photos.digests, pairs["digest"])
    stored = predictor.calibration and predictor.calibration.to(torch.device("cpu"))
    predicted = predictions(network_output(predictor, photos), photos.ages, held_out, stored)
    constant = checkpoint.read_model_json(model)["data"]["median_age_years"]
    tables = all_tables(predicted, photos.attributes, constant=constant)
    errors = kernel_tables.tables(*kernel_tables.ages_of(pairs), photos.ages, predicted.age_years)
    return predicted, Evaluation(
        model_version=predictor.version,
        n_cross_calibrated=int(held_out.sum()),
        metrics=measure(predicted.age_years, photos.ages, constant=constant),
        tables={**tables, **errors},
    )


def compare(predicted: Predictions, other: Path, photos: LabelledPhotos) -> Comparison:
    """Compare predictions with those of another model that was not trained on the photos either."""
    other_predicted, evaluation = evaluate(other, photos)
    gain, verdict = metrics.compare(predicted.age_years, other_predicted.age_years, photos.ages)
    return Comparison(
        against=evaluation.model_version,
        other_mae_years=evaluation.metrics.mae_years,
        gain_years=gain,
        verdict=verdict,
    )


def evaluation_page(
    evaluation: Evaluation, comparison: Comparison | None, predicted: Predictions, photos: LabelledPhotos, model: Path
) -> str:
    """Return the HTML of the figures and plots, with the photos of the largest errors."""
    tables = evaluation.tables
    drawn = {
        name: svg_uri(plots.error_by_group(table)) for name, table in tables.items() if name.startswith("error_by_")
    }
    drawn["error_against_age"] = svg_uri(plots.error_against_age(predicted))
    drawn["fitted_errors"] = svg_uri(plots.fitted_errors(tables["fitted_errors"]))
    pairs = kernel_tables.ages_of(contents.read_held_out(model))
    drawn["kernel"] = svg_uri(plots.kernel(kernel.fit(*pairs)))
    if predicted.calibrated is not None:
        drawn["coverage"] = svg_uri(plots.coverage(tables["coverage"]))
        drawn["reliability"] = svg_uri(plots.reliability(tables["reliability"]))
    worst = np.argsort(-np.abs(predicted.age_years - predicted.ages))[:N_WORST]
    return page.render(
        "evaluate.html.jinja",
        evaluation=evaluation,
        comparison=comparison,
        metrics=pd.DataFrame([asdict(evaluation.metrics)]),
        tables=tables,
        titles={name: title(name) for name in tables},
        plots=drawn,
        worst=[
            Photo(
                page.face(photos.folder / "final_files" / photos.file_names[row]),
                f"{photos.file_names[row]}: age {predicted.ages[row]}, predicted {predicted.age_years[row]:.0f}",
            )
            for row in worst
        ],
        n_worst=N_WORST,
        n_pairs=len(pairs[0]),
        min_pairs=kernel.MIN_PAIRS,
    )


def as_json(evaluation: Evaluation, comparison: Comparison | None) -> str:
    """Return the text of `evaluation.json`."""
    facts: dict[str, Any] = {
        "model_version": evaluation.model_version,
        "n_cross_calibrated": evaluation.n_cross_calibrated,
        "metrics": asdict(evaluation.metrics),
        **{name: table.to_dict("records") for name, table in evaluation.tables.items()},
    }
    if comparison:
        facts["comparison"] = {**asdict(comparison), "gain_years": comparison.gain_years._asdict()}
    return pd.Series(facts).to_json(indent=2) + "\n"  # pandas writes NaN, which JSON lacks, as null


def main(settings: Settings) -> None:
    """Evaluate, print, write."""
    model = settings.model.resolve()  # a promotion may move the link during the evaluation
    other = settings.against and settings.against.resolve()
    photos = not_trained_on(read_labels(settings.data), [model, other] if other else [model])
    predicted, evaluation = evaluate(model, photos)
    comparison = compare(predicted, other, photos) if other else None
    print(f"model version: {evaluation.model_version}\ncalibrated by each other: {evaluation.n_cross_calibrated}")
    print("\n".join(f"{name}: {value}" for name, value in asdict(evaluation.metrics).items()))
    for name, table in evaluation.tables.items():
        print(f"\n{title(name)}\n{table.to_string(index=False)}")
    if comparison:
        print(f"\nCompared with {comparison.against}: {comparison.verdict}")
    out = settings.out or Path(f"{model.name}.evaluation")  # never in a store, which others can read
    out.mkdir(parents=True, exist_ok=True)
    page.write(evaluation_page(evaluation, comparison, predicted, photos, model), out / "evaluation.html")
    draft = out / ".evaluation.json"
    draft.write_text(as_json(evaluation, comparison), encoding="utf-8")
    draft.replace(out / "evaluation.json")
    print(f"\n{out / 'evaluation.html'}")


if __name__ == "__main__":
    run(main, Settings)
