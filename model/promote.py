"""Make a model folder the one that the nightly run uses, if it is better than the one in use; or go back.

The nightly run is given STORE/current, a link to the store's copy of a model that moves in one step; `history.jsonl`
beside it has a line for each change.

- Better: on the photos that both models held out the error became smaller, and the 95 % interval of the paired
  difference lies above 0. Photos may have been added since, as others keep their sides; models with hardly a
  held-out photo in common are refused. `--force REASON` overrules both.
- An equal model passes about once in forty times, and a set that has judged many candidates favours the lucky ones:
  renew the held-out photos now and then.
- The first model of a store is taken as it is.
- `--rollback` undoes the last promotion that stands. A second one undoes the promotion before that: it never brings
  back the model that the first one left. Promoting that model again may, by its folder STORE/<version>: it is compared
  like any other.

Exit code 0: the model is current, or was already. 2: a person must mend something. 99: sound, but not better.
"""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from tyro.conf import FlagCreatePairsOff, Positional, arg

from model.cli import InputError, run
from model.evaluation import metrics
from model.release import checkpoint, contents as release
from model.release.store import copy_in, current_version, locked, make_current, read_history, sound_copy, standing

NOT_BETTER = 99
"""Exit code that Airflow's BashOperator takes as a task to skip: no failure, and nobody is called."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of `python -m model.promote`."""

    model: Annotated[Positional[Path | None], arg(metavar="[MODEL]")] = None
    """Model folder to promote."""
    store: Path
    """Folder of the promoted models; it must exist."""
    force: Annotated[str | None, arg(metavar="REASON")] = None
    """Promote whatever the comparison says; the history keeps the reason."""
    rollback: FlagCreatePairsOff[bool] = False
    """Go back to the model that was current before. Takes no model folder."""

    def __post_init__(self) -> None:
        if self.rollback and (self.model or self.force is not None):
            raise InputError("--rollback takes neither a model folder nor --force: the history knows where to go back")
        if not self.rollback and not self.model:
            raise InputError("the model folder is missing; name the one to promote, or go back with --rollback")
        if self.force is not None and not self.force.strip():
            raise InputError(f"--force is {self.force!r}; it must be the reason, for whoever reads the history")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Errors of two models on the same held-out photos, years; the names are those in the history."""

    n: int
    mae_years: float
    """Of the candidate."""
    mae_before_years: float
    """Of the current model."""
    gain_years: float
    """Mean of the current model's absolute error minus the candidate's, photo by photo."""
    gain_low: float
    """Lower end of the 95 % interval of the gain."""
    gain_high: float
    is_better: bool
    """Whether that interval lies above 0."""
    verdict: str


def held_out(folder: Path) -> pd.DataFrame:
    """Return `digest`, `real_age` and `age_years` by file name of the photos that a model's training held out.

    Raises:
        InputError: the model was released without them.
    """
    if release.HELD_OUT not in checkpoint.read_card(folder)["sha256"]:
        raise InputError(
            f"{folder} was released without {release.HELD_OUT} to compare by; "
            "train anew with model.train, or promote with --force and the reason"
        )
    return release.read_held_out(folder).set_index("file_name").sort_index()


def compare(candidate: Path, current: Path) -> Comparison:
    """Compare two model folders, photo by photo, on what both of them held out: neither has learnt those.

    Raises:
        InputError: that is not even half of what the current model was judged by.
    """
    now, before = held_out(candidate), held_out(current)
    both = now.join(before, how="inner", rsuffix="_before")
    # A label that was mended judges neither, nor does another picture under an old name.
    both = both[(both["real_age"] == both["real_age_before"]) & (both["digest"] == both["digest_before"])]
    if len(both) <= len(before) / 2:
        raise InputError(
            f"{candidate} held out {len(both)} of the {len(before)} photos that {current} is judged by: too few to "
            "compare them; judge both on one set that neither has learnt with `python -m model.evaluate --against`, "
            "then promote with --force and the reason"
        )
    ages = both["real_age"].to_numpy()
    predicted, predicted_before = both["age_years"].to_numpy(), both["age_years_before"].to_numpy()
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


def promote(model: Path, store: Path, reason: str | None) -> bool:
    """Make a model current if it is better, or if there is a reason; returns whether it is current now."""
    checkpoint.load(model)  # as the nightly run will
    version, current = checkpoint.version(model), current_version(store)
    if version == current:
        mended = copy_in(store, model, version)
        print(f"{version} is current already: {'its damaged copy was replaced' if mended else 'nothing changed'}.")
        return True
    comparison = None
    if current is None:
        print(f"{store} has no current model to compare with.")
    else:
        try:
            comparison = compare(model, sound_copy(store, current))
            print(f"candidate {version}: MAE {comparison.mae_years:.2f} years on {comparison.n} held-out photos")
            print(f"current   {current}: MAE {comparison.mae_before_years:.2f} years on the same")
            print(f"The candidate is {comparison.verdict}.")
        except InputError as error:
            if reason is None:
                raise
            print(f"Not compared: {error}")
    if comparison and not comparison.is_better and reason is None:
        print(f"{version} was not promoted, {current} stays current.")
        return False
    copy_in(store, model, version)
    facts = asdict(comparison) if comparison else None
    make_current(store, version, "promote", comparison=facts, reason=reason)
    print(f"{version} is current now{f', by force: {reason}' if reason else ''}.")
    return True


def roll_back(store: Path) -> None:
    """Make the model current that was so before the last promotion that stands.

    Raises:
        InputError: there is none, or its copy is missing or damaged.
    """
    current, versions = current_version(store), standing(read_history(store))
    before = versions[-2] if len(versions) > 1 else None
    if before is None:
        known = f"knows no model before {current}" if current else "holds no model yet"
        raise InputError(f"store is {store}, which {known}; promote another")
    sound_copy(store, before)
    make_current(store, before, "rollback")
    print(f"{before} is current again, in place of {current}.")


def main(settings: Settings) -> None:
    """Promote or go back, alone in the store."""
    with locked(settings.store):
        if settings.model is None:
            roll_back(settings.store)
        elif not promote(settings.model, settings.store, settings.force):
            sys.exit(NOT_BETTER)


if __name__ == "__main__":
    run(main, Settings)
