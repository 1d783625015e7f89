"""Read how old a population is, as statistical offices publish it, to set a labelled photo set beside it.

A CSV file, one row per age, or per age and sex, in any order and without rows of totals:

| column | content |
|---|---|
| `age` | completed years: a single age `34`, a band `30-34`, or an open end `85+` |
| `count` or `share` | people, or their share of the population; only the proportions between rows matter |
| `sex` (optional) | `male` or `female`, also `m` or `f` |

    age,sex,count
    0-4,male,1675000
    0-4,female,1590000
    5-9,male,1731000
"""

import csv
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from model.cli import InputError
from model.evaluation.metrics import Floats
from model.network import N_AGES

SEXES = {"male": "male", "m": "male", "female": "female", "f": "female"}
MAX_AGE_YEARS = 130


class _Row(NamedTuple):
    sex: str
    low: int
    high: int
    people: float


def read_population(path: Path) -> pd.DataFrame:
    """Read a population of single years of age.

    A band is spread evenly over its years, an open end up to 100, and whoever is older counts as 100.

    Returns:
        Shares of the whole population, together 1: row n is age n (0 to 100), columns `male` and `female`, or
        `all` where the file has no sex.

    Raises:
        InputError: there is no such file, a column or a sex is missing, a value is none of the above, or ages
            overlap or leave a gap.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or [])
            measure = _measure(path, columns)
            rows = [_row(f"{path} line {reader.line_num}", row, measure) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} can't be read as a CSV file: {error}") from None
    sexes = ["male", "female"] if "sex" in columns else ["all"]
    people = pd.DataFrame(0.0, index=range(N_AGES), columns=sexes)
    for sex in sexes:
        people[sex] = _single_years(path, sex, sorted(row for row in rows if row.sex == sex))
    total = people.to_numpy().sum()
    if total == 0:
        raise InputError(f"{path}: {measure} is 0 in every row")
    shares: pd.DataFrame = people / total
    return shares


def _measure(path: Path, columns: list[str]) -> str:
    if "age" not in columns:
        raise InputError(f"{path} lacks the column age; it has {columns} and needs age, count or share, perhaps sex")
    found = [name for name in ("count", "share") if name in columns]
    if len(found) != 1:
        raise InputError(f"{path} must have one of the columns count and share; it has {columns}")
    return found[0]


def _row(place: str, row: dict[str, str], measure: str) -> _Row:
    age = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3})|(\+))?", (row["age"] or "").strip(), re.ASCII)
    low = int(age[1]) if age else 0
    high = (int(age[2]) if age[2] else max(low, N_AGES - 1) if age[3] else low) if age else -1
    if not low <= high <= MAX_AGE_YEARS:
        raise InputError(f"{place}: age is {row['age']!r}; it must be written 34, 30-34 or 85+ (leave totals out)")
    sex = SEXES.get((row["sex"] or "").strip().lower(), "") if "sex" in row else "all"
    if not sex:
        raise InputError(f"{place}: sex is {row['sex']!r}; it must be male or female (leave totals out)")
    try:
        people = float(row[measure] or "")
    except ValueError:
        people = math.nan
    if not (math.isfinite(people) and people >= 0):
        raise InputError(f"{place}: {measure} is {row[measure]!r}; it must be a number such as 1234 or 0.012")
    return _Row(sex, low, high, people)


def _single_years(path: Path, sex: str, rows: list[_Row]) -> Floats:
    if not rows:
        raise InputError(f"{path} has no row" if sex == "all" else f"{path}: sex is never {sex}; both are needed")
    for row, following in pairwise(rows):
        if following.low != row.high + 1:
            raise InputError(
                f"{path}: age {following.low} ({sex}) comes after {row.high}; ages must follow each other without "
                "gap or overlap, each once"
            )
    people = np.zeros(N_AGES)
    for row in rows:
        years = np.minimum(np.arange(row.low, row.high + 1), N_AGES - 1)
        np.add.at(people, years, row.people / len(years))
    return people
