"""What makes a model folder complete: calibration, held-out predictions, and a card written from what was measured."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from model.cli import InputError
from model.evaluation import calibration, tables as judgement
from model.evaluation.metrics import measure
from model.photos.data import LabelledPhotos
from model.release import checkpoint

HELD_OUT, LEARNT = checkpoint.PRIVATE
CARD = "MODEL_CARD.md"


def complete(
    output: Tensor, training: LabelledPhotos, held_out: LabelledPhotos, facts: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Calibrate and judge a trained network on the photos that it was not trained on.

    Every figure is of photos that were calibrated by the other held-out ones; the stored calibration is learnt from
    all of them.

    Args:
        output: what the network says of them on the CPU, (N, 101) or (N, 1), as `AgePredictor.output`.
        training: photos that were learnt.
        held_out: photos that were not.
        facts: for `model.json`, with `data.median_age_years` of the training part.

    Returns:
        `facts` with metrics, and the folder's other files as text by name.
    """
    found = judgement.predictions(output, held_out.ages, np.full(len(held_out.ages), fill_value=True), None)
    constant = facts["data"]["median_age_years"]
    metrics = asdict(measure(found.age_years, found.ages, constant=constant))
    tables = judgement.tables(found, held_out.attributes, constant=constant)
    predictions = pd.DataFrame(
        {
            "file_name": held_out.file_names,
            "digest": held_out.digests,
            "real_age": found.ages,
            "age_years": found.age_years.round(4),
        }
    )
    curves = None if found.raw is None else calibration.fit(found.raw, found.ages)
    facts = {**facts, "metrics": metrics}
    return facts, {
        calibration.FILE: calibration.dump(curves, found.age_years, found.ages),
        HELD_OUT: predictions.to_csv(index=False),
        LEARNT: "".join(f"{digest}\n" for digest in sorted(training.digests)),
        CARD: model_card(facts, tables),
    }


def read_held_out(folder: Path) -> pd.DataFrame:
    """Return `file_name`, `digest`, `real_age` and `age_years` of the photos that the model of `folder` held out.

    Raises:
        InputError: the folder has no such file, or it is for others.
    """
    return pd.read_csv(_private(folder, HELD_OUT), dtype={"file_name": str, "digest": str}, keep_default_na=False)


def learnt_photos(folder: Path) -> set[str]:
    """Return the digests, as `LabelledPhotos.digests`, of the photos that the model of `folder` was trained on.

    Raises:
        InputError: the folder has no such file, or it is for others.
    """
    return set(_private(folder, LEARNT).read_text(encoding="utf-8").split())


def _private(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        raise InputError(f"{folder} lacks {name}; only folders that model.train wrote can be judged or promoted")
    return checkpoint.readable(folder / name)


def model_card(facts: dict[str, Any], tables: dict[str, pd.DataFrame]) -> str:
    """Return the text of the card: what the model is, what it is for, how it errs and for whom."""
    metrics, data, training = facts["metrics"], facts["data"], facts["training"]
    what = (
        f"ResNet-50, {training['head']} head, {training['image_size']} px, preset `{training['preset']}`, "
        f"{training['epochs']} epochs. Backbone: {training['pretrained']}."
    )
    use = (
        "An approximate age from a photo of a face, for statistics over many shoppers, and for picking receipts that "
        "a person then reviews. It must not decide about a person: no refusal of a sale, no proof of age, no "
        "accusation, no offer to somebody taken for a minor. It was not made to recognise anybody."
    )
    photos = (
        f"`{data['name']}`: {data['n_training']:,} labelled photos to learn from (fingerprint "
        f"`{data['training_fingerprint']}`) and {data['n_held_out']:,} held out (`{data['held_out_fingerprint']}`); "
        "near-duplicates are never on both sides, other photos of the same person may be. Errors are against the "
        "labels; where those are estimates, the error on documented ages is not known. `held_out.csv` and "
        "`learnt_photos.txt` tell whoever has a photo whether it was in the set: pass the folder on only to those "
        "who may know."
    )
    terms = "The terms of the labelled set bind the weights too: check them before any use, a commercial one above all."
    stated = "\n".join(f"> {line}" for line in (data["terms"] or "").splitlines())
    terms += f" They are:\n\n{stated}" if stated else " The set came without a `TERMS.txt` that states them."
    error = (
        f"Mean absolute error **{metrics['mae_years']:.2f} years** (95 % {metrics['mae_low']:.2f} to "
        f"{metrics['mae_high']:.2f}; answering {data['median_age_years']:g} for everybody: "
        f"{metrics['constant_mae_years']:.2f}). Half of the photos are within {metrics['median_error_years']:.1f} "
        f"years, {metrics['within_5_years']:.0%} within five; on average the model is {metrics['bias_years']:+.2f} "
        "years off."
    )
    part = ["# Age model", what, "## Use", use, "## Data", photos, terms, "## Error on the held-out photos", error]
    part += [weaknesses(tables), *(_markdown(frame, judgement.title(name)) for name, frame in tables.items())]
    return "\n\n".join(part) + "\n"


def weaknesses(tables: dict[str, pd.DataFrame]) -> str:
    """Return which ages and which groups are shown to be served worse: by 95 % intervals, groups at equal age.

    Intervals are one by one: of forty groups that are served alike, one or two are named.
    """
    ages = _enough(tables["error_by_decade"])
    overall = float(np.average(tables["error_by_decade"]["mae_years"], weights=tables["error_by_decade"]["n"]))
    worse = [f"{row.group} ({row.mae_years:.1f} years)" for row in ages[ages["mae_low"] > overall].itertuples()]
    said = f"Looked at were decades and groups of {MIN_PHOTOS} photos or more; one in twenty may be named by chance. "
    said += f"Error above that of all photos: {_listed(worse)}."
    if "at_equal_age" not in tables:
        return f"{said} Sex, ancestry or the like were not looked at: `attributes.csv` names no such groups."
    groups = _enough(tables["at_equal_age"])
    for what, rows, column in (
        ("errs more about", groups["mae_beyond_low"] > 0, "mae_beyond"),
        ("makes younger", groups["bias_beyond_high"] < 0, "bias_beyond"),
        ("makes older", groups["bias_beyond_low"] > 0, "bias_beyond"),
    ):
        found = [f"{row.of} {row.group} ({getattr(row, column):+.1f} years)" for row in groups[rows].itertuples()]
        said += f" Than others of the same decade of age, the model {what}: {_listed(found)}."
    return said


def _enough(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["n"] >= MIN_PHOTOS]


def _listed(found: list[str]) -> str:
    return "; ".join(found) or "none"


MIN_PHOTOS = 30
"""Bootstrap intervals of fewer are too narrow to accuse a group by: of two photos, one time in seven."""


def _markdown(frame: pd.DataFrame, title: str) -> str:
    if frame.empty:
        return f"### {title}\n\nNot measured: this head has no distribution."
    rounded = frame.copy()
    for name in rounded.select_dtypes("float"):
        rounded[name] = [f"{value:.3g}" for value in rounded[name]]
    header = "| " + " | ".join(rounded.columns) + " |\n|" + " --- |" * len(rounded.columns)
    rows = "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rounded.itertuples(index=False))
    return f"### {title}\n\n{header}\n{rows}"
