"""Promote a model: make it the one that the nightly run uses, if it is better than the current one.

The nightly run scores with STORE/current, a link to the store's copy of a model. `history.jsonl` in the store has a
line for each change.

- Better: on the photos that both models held out the error is smaller, and the 95 % interval of the paired difference
  lies above 0. Photos may have been added in between, because the others keep their sides. Models with few common
  held-out photos are not compared. `--force REASON` overrides both rules.
- With an equal model, one comparison in forty succeeds by chance. Replace the held-out photos from time to time,
  because repeated comparisons on the same photos select lucky models.
- The first model of a store is not compared.
- Each promotion prints the command that goes back to the model before: it promotes that model's copy in the store.

Exit code 0: the model is current. Exit code 2: wrong input or configuration; fix it. Exit code 98, with
`--compared-only`: a person decides, because there was no comparison. Exit code 99: the model is valid but not better.
"""

import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from tyro.conf import FlagCreatePairsOff, Positional, arg

from model import predict
from model.cli import InputError, run
from model.evaluation import metrics
from model.release import checkpoint, contents
from model.release.store import copy_in, current_version, locked, make_current, verified_copy

NOT_BETTER = 99
"""Exit code on which Airflow's BashOperator skips a task: it does not fail, and sends no alert."""

NOT_COMPARED = 98
"""Exit code after which the DAG asks a person."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of `python -m model.promote`."""

    model: Annotated[Positional[Path], arg(metavar="MODEL")]
    """Model folder to promote."""
    store: Path
    """Folder of the promoted models; it must exist."""
    force: Annotated[str | None, arg(metavar="REASON")] = None
    """Promote the model whatever the comparison says. The reason is written to the history."""
    compared_only: FlagCreatePairsOff[bool] = False
    """Promote only after a comparison: the first model of a store, and a model that can't be compared with the current
    one, end with exit code 98 and change nothing."""

    def __post_init__(self) -> None:
        if self.force is not None and not self.force.strip():
            raise InputError(f"--force is {self.force!r}; it must be the reason, which is written to the history")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Errors of two models on the same held-out photos, years. The history has the same names."""

    n: int
    mae_years: float
    """Of the candidate."""
    mae_before_years: float
    """Of the current model."""
    gain_years: float
    """Mean over photos of the current model's absolute error minus the candidate's."""
    gain_low: float
    """Lower end of the 95 % interval of the gain."""
    gain_high: float
    is_better: bool
    """Whether the interval lies above 0."""
    verdict: str


def held_out(folder: Path) -> pd.DataFrame:
    """Return `digest`, `real_age` and `age_years` of a model's held-out photos, by file name.

    Raises:
        InputError: the model folder has no such file.
    """
    if contents.HELD_OUT not in checkpoint.read_model_json(folder)["sha256"]:
        raise InputError(
            f"{folder} has no {contents.HELD_OUT} for the comparison; "
            "train again with model.train, or promote with --force and the reason"
        )
    return contents.read_held_out(folder).set_index("file_name").sort_index()


def compare(candidate: Path, current: Path) -> Comparison:
    """Compare two models, photo by photo, on the photos that both held out.

    Raises:
        InputError: those are at most half of the photos that the current model held out.
    """
    held_out_now, held_out_before = held_out(candidate), held_out(current)
    common = held_out_now.join(held_out_before, how="inner", rsuffix="_before")
    # Without photos whose label was corrected, and without another picture under the same name.
    common = common[(common["real_age"] == common["real_age_before"]) & (common["digest"] == common["digest_before"])]
    if len(common) <= len(held_out_before) / 2:
        raise InputError(
            f"{candidate} held out {len(common)} of the {len(held_out_before)} photos that {current} held out: too few "
            "to compare them; compare both on another labelled set with `python -m model.evaluate --against`, "
            "then promote with --force and the reason"
        )
    ages = common["real_age"].to_numpy()
    predicted, predicted_before = common["age_years"].to_numpy(), common["age_years_before"].to_numpy()
    gain, verdict = metrics.compare(predicted, predicted_before, ages)
    return Comparison(
        n=len(ages),
        mae_years=round(float(np.abs(predicted - ages).mean()), 4),
        mae_before_years=round(float(np.abs(predicted_before - ages).mean()), 4),
        gain_years=round(gain.estimate, 4),
        gain_low=round(gain.low, 4),
        gain_high=round(gain.high, 4),
        is_better=gain.low > 0,
        verdict=verdict,
    )


def promote(model: Path, store: Path, reason: str | None, *, compared_only: bool = False) -> int:
    """Make a model current if it is better or a reason is given; returns the exit code."""
    # Fails now, not at night, if the model can't be used.
    version, current = predict.check(model), current_version(store)
    checkpoint.load(model)
    if version == current:
        is_replaced = copy_in(store, model, version)
        print(f"{version} is current already: {'its damaged copy was replaced' if is_replaced else 'nothing changed'}.")
        return 0
    comparison = None
    if current is None:
        print(f"Not compared: {store} has no current model.")
    else:
        try:
            comparison = compare(model, verified_copy(store, current))
            print(f"candidate {version}: MAE {comparison.mae_years:.2f} years on {comparison.n} held-out photos")
            print(f"current   {current}: MAE {comparison.mae_before_years:.2f} years on the same photos")
            print(f"The candidate is {comparison.verdict}.")
        except InputError as error:
            if reason is None and not compared_only:
                raise
            print(f"Not compared: {error}")
    if comparison is None and compared_only and reason is None:
        print(
            f"{version} was not promoted: somebody must decide. To promote it:\n    {command_to_promote(model, store)}"
        )
        return NOT_COMPARED
    if comparison and not comparison.is_better and reason is None:
        print(f"{version} was not promoted, {current} stays current.")
        return NOT_BETTER
    copy_in(store, model, version)
    facts = asdict(comparison) if comparison else None
    make_current(store, version, comparison=facts, reason=reason)
    print(f"{version} is current now{f', by force: {reason}' if reason else ''}.")
    if current is not None:
        print(f"To go back to {current}:\n    {command_to_promote(store / current, store)}")
    return 0


def command_to_promote(model: Path, store: Path) -> str:
    """Return the command line that promotes a model whatever the comparison says; REASON is to be filled in.

    >>> command_to_promote(Path("models/0123456789ab"), Path("models"))
    'python -m model.promote models/0123456789ab --store models --force REASON'
    """
    return shlex.join(["python", "-m", "model.promote", str(model), "--store", str(store), "--force", "REASON"])


def main(settings: Settings) -> None:
    """Lock the store and promote."""
    with locked(settings.store):
        code = promote(settings.model, settings.store, settings.force, compared_only=settings.compared_only)
    if code:
        sys.exit(code)


if __name__ == "__main__":
    run(main, Settings)
