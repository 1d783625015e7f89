"""Delete from a store of models what is no longer needed: a model folder tells which photos of people it learnt from.

- Copies of models other than the current one and the last `--keep-models` before it, to which one can return.
- Candidates that are older than `--keep-candidates-days`, with what their training left.
- Drafts of interrupted promotions, and compiled packages of deleted models and of other versions of torch.

Without `--delete` nothing is changed: the program shows what it would delete, and what stays.
"""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from tyro.conf import FlagCreatePairsOff, Positional

from model.cli import InputError, run
from model.release import store as models

_VERSION = re.compile(r"[0-9a-f]{12}")
_DRAFTS = (".draft", ".history", ".current")
MIN_CANDIDATE_DAYS = 14
"""A candidate may wait this long for a person's approval."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of the program."""

    store: Positional[Path]
    """Folder of the promoted models."""
    keep_models: int = 3
    """Number of models before the current one that are kept."""
    keep_candidates_days: int = 90
    """Days after its last change for which a candidate is kept."""
    delete: FlagCreatePairsOff[bool] = False
    """Delete. Without this flag, show what would be deleted."""

    def __post_init__(self) -> None:
        if self.keep_models < 1:
            raise InputError(f"keep_models is {self.keep_models}; it must be at least 1, to return to")
        if self.keep_candidates_days < MIN_CANDIDATE_DAYS:
            raise InputError(
                f"keep_candidates_days is {self.keep_candidates_days}; it must be at least {MIN_CANDIDATE_DAYS}"
            )


def kept_versions(store: Path, keep_models: int) -> list[str]:
    """Return the versions that stay, the current one first.

    If the history names too few, because it was lost or moved away, the newest other models stay.

    Raises:
        InputError: `current` is not a link beside the models, or the history can't be read.
    """
    newest_first = [models.current_version(store), *(change.version for change in reversed(models.read_history(store)))]
    copies = (path for path in store.iterdir() if _VERSION.fullmatch(path.name) and path.is_dir())
    newest_first += [path.name for path in sorted(copies, key=age_days) if not path.is_symlink()]
    return list(dict.fromkeys(version for version in newest_first if version))[: keep_models + 1]


def retired(store: Path, kept: list[str], candidate_days: int) -> Iterator[Path]:
    """Return the files and folders that are no longer needed."""
    yield from (store / name for name in _DRAFTS if (store / name).exists() or (store / name).is_symlink())
    for path in sorted(store.iterdir()):
        version = path.name.removesuffix(".compiled")
        if not _VERSION.fullmatch(version) or path.is_symlink():
            continue
        if version not in kept:
            yield path
        elif path.name.endswith(".compiled"):
            of_others = (file for file in sorted(path.iterdir()) if f"-{torch.__version__}-" not in file.name)
            yield from (file for file in of_others if age_days(file) > 1)  # a draft may be in the making
    candidates = store / "candidates"
    for path in sorted(candidates.iterdir()) if candidates.is_dir() else []:
        if age_days(path) > candidate_days:
            yield path


def age_days(path: Path) -> float:
    """Return the days since the last change of a file, or in a folder."""
    return (time.time() - max(each.lstat().st_mtime for each in (path, *path.rglob("*")))) / (24 * 3600)


def size(path: Path) -> int:
    """Return the bytes of a file or folder."""
    return sum(each.lstat().st_size for each in (path, *path.rglob("*")) if not each.is_dir())


def main(settings: Settings) -> None:
    """Show what is no longer needed; with `delete`, delete it."""
    store = settings.store
    if not store.is_dir():
        raise InputError(f"store is {store}; it must be an existing folder")
    with models.locked(store) if settings.delete else nullcontext():
        kept = kept_versions(store, settings.keep_models)
        for path in retired(store, kept, settings.keep_candidates_days):
            print(f"{'delete' if settings.delete else 'would delete'} {path}, {size(path):,} bytes", flush=True)
            if not settings.delete:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    print(f"models that stay: {', '.join(kept) or 'none'}" + ("" if settings.delete else "; add --delete to delete"))


if __name__ == "__main__":
    run(main, Settings)
