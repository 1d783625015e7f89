"""The files that complete a model folder: calibration, held-out predictions, and a model card with the errors."""

from collections.abc import Mapping
from dataclasses import asdict
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from model.cli import InputError
from model.evaluation import calibration
from model.evaluation.metrics import measure
from model.evaluation.predictions import predictions
from model.evaluation.tables import all_tables, title
from model.pages.templates import environment
from model.photos.data import LabelledPhotos
from model.release import checkpoint

HELD_OUT, TRAINING = checkpoint.HELD_OUT, checkpoint.TRAINING
CARD = "MODEL_CARD.md"

MIN_PHOTOS = 30
"""Smaller groups are not listed: their bootstrap intervals are too narrow. With two photos, one interval in seven
excludes 0 by chance."""


def complete(
    output: Tensor, training: LabelledPhotos, held_out: LabelledPhotos, facts: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Calibrate and evaluate a trained network on the photos that it was not trained on.

    For the figures, each photo is calibrated by the other held-out ones. The stored calibration is fitted to all of
    them.

    Args:
        output: the network's output for the held-out photos, on the CPU: (N, 101) or (N, 1), as `AgePredictor.output`.
        training: photos that the network was trained on.
        held_out: photos that it was not trained on.
        facts: for `model.json`, with `data.median_age_years` of the training part.

    Returns:
        `facts` with metrics, and the folder's other files as text by name.
    """
    ages, constant = held_out.ages, facts["data"]["median_age_years"]
    predicted = predictions(output, ages, np.full(len(ages), fill_value=True), None)
    facts = {**facts, "metrics": asdict(measure(predicted.age_years, ages, constant=constant))}
    rows = pd.DataFrame(
        {
            "file_name": held_out.file_names,
            "digest": held_out.digests,
            "real_age": ages,
            "age_years": predicted.age_years.round(4),
        }
    )
    curves = None if predicted.uncalibrated is None else calibration.fit(predicted.uncalibrated, ages)
    return facts, {
        checkpoint.CALIBRATION: calibration.dump(curves),
        HELD_OUT: rows.to_csv(index=False),
        TRAINING: "".join(f"{digest}\n" for digest in sorted(training.digests)),
        CARD: model_card(facts, all_tables(predicted, held_out.attributes, constant=constant)),
    }


def read_held_out(folder: Path) -> pd.DataFrame:
    """Return `file_name`, `digest`, `real_age` and `age_years` of the photos that the model of `folder` held out.

    Raises:
        InputError: the folder has no such file, or this user may not read it.
    """
    return pd.read_csv(_private(folder, HELD_OUT), dtype={"file_name": str, "digest": str}, keep_default_na=False)


def training_digests(folder: Path) -> set[str]:
    """Return the digests, as `LabelledPhotos.digests`, of the photos that the model of `folder` was trained on.

    Raises:
        InputError: the folder has no such file, or this user may not read it.
    """
    return set(_private(folder, TRAINING).read_text(encoding="utf-8").split())


def _private(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        raise InputError(f"{folder} lacks {name}, which model.train writes into a model folder")
    return checkpoint.readable(folder / name)


def model_card(facts: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> str:
    """Return the text of the card: what the model is, what it is for, its errors, and for whom they are larger.

    Args:
        facts: of `model.json`.
        tables: as `all_tables` returns them.
    """
    template = environment(Path(__file__).parent, figure=_figure).get_template("model_card.md.jinja")
    titles = {name: title(name) for name in tables}
    return template.render(facts=facts, tables=tables, titles=titles, weaknesses=weaknesses(tables))


def _figure(value: object) -> str:
    is_fraction = isinstance(value, Real) and not isinstance(value, Integral)
    return f"{value:.3g}" if is_fraction else str(value)


def weaknesses(tables: Mapping[str, pd.DataFrame]) -> str:
    """Return for which ages and groups the errors are larger, by 95 % intervals; groups are compared at equal age.

    Each interval is taken by itself: of forty groups with equal errors, one or two are named.
    """
    decades = _large_enough(tables["error_by_decade"])
    overall = float(np.average(tables["error_by_decade"]["mae_years"], weights=tables["error_by_decade"]["n"]))
    worse = [f"{row.group} ({row.mae_years:.1f} years)" for row in decades[decades["mae_low"] > overall].itertuples()]
    text = f"Decades and groups of {MIN_PHOTOS} photos or more were tested; one in twenty may be named by chance. "
    text += f"Error above that of all photos: {_joined(worse)}."
    if "at_equal_age" not in tables:
        return f"{text} Sex, ancestry and similar groups were not tested: `attributes.csv` has none."
    groups = _large_enough(tables["at_equal_age"])
    for clause, rows, column in (
        ("has larger errors for", groups["mae_beyond_low"] > 0, "mae_beyond"),
        ("predicts too young", groups["bias_beyond_high"] < 0, "bias_beyond"),
        ("predicts too old", groups["bias_beyond_low"] > 0, "bias_beyond"),
    ):
        names = [
            f"{row.attribute} {row.group} ({getattr(row, column):+.1f} years)" for row in groups[rows].itertuples()
        ]
        text += f" Compared with others of the same decade of age, the model {clause}: {_joined(names)}."
    return text


def _large_enough(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["n"] >= MIN_PHOTOS]


def _joined(names: list[str]) -> str:
    return "; ".join(names) or "none"
