"""Measure how often honest cashiers signal, and how often planted ones do, beside simpler methods.

Run `make bench-cashiers`, or this file with flags. Each test draws chains of 2,400 cashiers with known behaviour and
age errors of a model (`cashier_chains`). Compared with: the raw share of unchecked sales against that of the chain
(binomial test), and limits that add the spread between cashiers to it (Spiegelhalter 2005), both without the buyers'
ages. All seeds are stated; none was used to choose a setting.

"Unchecked x2": buyers under 30 are left unasked twice as often. In a chain that asks 95 % of the youngest this is a
small change, in one that asks 75 % a large one; both are shown.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import cashier_chains as chains
import numpy as np
from cashier_chains import Chain
from scipy import stats
from tabulate import tabulate
from tqdm import tqdm

from jobs.stats.funnel import WINSOR
from jobs.stats.screening import Rule, Screening, Window, screen
from model.cli import run

Draw = Callable[[np.random.Generator], tuple[Chain, np.ndarray]]
"""A chain and the cashiers that are looked at, (C,) booleans."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of the benchmark."""

    seeds: int = 10
    """Number of runs of each test, with the seeds 1000, 1001, ..."""
    largest: int = 50_000
    """Number of cashiers of which the time is measured."""


@dataclass(frozen=True)
class Test:
    """A simulation and what must be reached."""

    name: str
    draw: Draw
    target: str = ""
    guard: bool = True
    kind: str = "honest"


def one_of_store(
    change: Callable[[np.random.Generator, Chain, np.ndarray], Chain], every: int = 1, **of: float
) -> Draw:
    """Change the first cashier of each store, or of every n-th store."""

    def draw(rng: np.random.Generator) -> tuple[Chain, np.ndarray]:
        chain = chains.honest(rng, **{name: value for name, value in of.items() if name != "asked"})
        chain = replace(chain, asked=of.get("asked", chain.asked))
        chosen = chains.first_of_stores(chain, every)
        return change(rng, chain, chosen), chosen

    return draw


def all_honest(**of: int) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[Chain, np.ndarray]:
        chain = chains.honest(rng, **of)
        return chain, np.ones(chain.store.size, dtype=bool)

    return draw


def shifted(years: float) -> Draw:
    return one_of_store(lambda _, chain, chosen: replace(chain, shift=np.where(chosen, years, 0.0)))


def older(tilt: float) -> Draw:
    return one_of_store(lambda _, chain, chosen: replace(chain, tilt=chain.tilt + np.where(chosen, tilt, 0)))


def evening() -> Draw:
    hours = np.array([0, 0, 0.05, 0.95])
    return one_of_store(
        lambda _, chain, chosen: replace(chain, hour_share=np.where(chosen[:, None], hours, chain.hour_share))
    )


def campus() -> Draw:
    """Four stores of 200 have shoppers who are 12 years younger."""

    def draw(rng: np.random.Generator) -> tuple[Chain, np.ndarray]:
        chain = chains.honest(rng)
        chosen = chain.store < 4
        return replace(chain, tilt=np.where(chosen, -0.05, chain.tilt)), chosen

    return draw


def planted(kind: str, n_sales: int, spread: float, asked: float = 0.95) -> Draw:
    """Plant one cashier in every fifth store, 1.7 % of all."""
    return one_of_store(
        lambda _, chain, chosen: chains.plant(chain, chosen, kind, n_sales), every=5, spread=spread, asked=asked
    )


HONEST = [
    Test("honest, 200 stores", all_honest(), ".03-.06 / .004; watch .04, review .001"),
    Test("honest, 10 stores", all_honest(n_stores=10)),
    Test("camera reads 4 years too young", shifted(-4), ".10 / .01; review .005"),
    Test("the same without the guard", shifted(-4), "above .25", guard=False),
    Test("clientele read 1.4 years too young", shifted(-1.4), ".10 / .01; review .005"),
    Test("clientele read 2.7 years too young", shifted(-2.7), ".10 / .01; review .005"),
    Test("evening shift only", evening(), ".07 / .006"),
    Test("campus store", campus(), ".07 / .006"),
    Test("clientele 3 years older", older(0.01)),
    Test("clientele 10 years older", older(0.03), ".18 / .02; review .01"),
]
PLANTED = [
    Test(f"{name}, spread {spread}", planted(kind, n, spread, asked), target, kind=kind)
    for name, kind, n, spread, asked, target in (
        ("unchecked x2, 1000 sales, chain asks 95 %", "twice", 1000, 0.2, 0.95, "p < .002: .90"),
        ("unchecked x2, 1000 sales, chain asks 95 %", "twice", 1000, 0.4, 0.95, "watch .75"),
        ("unchecked x2, 200 sales, chain asks 75 %", "twice", 200, 0.2, 0.75, ""),
        ("unchecked x2, 1000 sales, chain asks 75 %", "twice", 1000, 0.2, 0.75, "p < .002: .90"),
        ("unchecked x2, 1000 sales, chain asks 75 %", "twice", 1000, 0.4, 0.75, "watch .75"),
        ("asks a tenth as often, 50 sales", "tenth", 50, 0.4, 0.95, ""),
        ("asks a tenth as often, 100 sales", "tenth", 100, 0.2, 0.95, "p < .002: .95"),
        ("asks a tenth as often, 100 sales", "tenth", 100, 0.4, 0.95, "p < .002: .95"),
        ("minors and no checks, 10 sales", "minors", 10, 0.4, 0.95, ""),
        ("minors and no checks, 20 sales", "minors", 20, 0.2, 0.95, "review .75"),
        ("minors and no checks, 20 sales", "minors", 20, 0.4, 0.95, "review .75"),
        ("minors and no checks, 50 sales", "minors", 50, 0.4, 0.95, "review .98"),
        ("marks checked falsely, 1000 sales", "marks", 1000, 0.2, 0.95, ""),
        ("marks checked falsely, 1000 sales", "marks", 1000, 0.4, 0.95, ""),
    )
]


def raw_rates(window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Return p values of few checks without the buyers' ages: binomial, and with additive limits."""
    size = window.store.size
    n = np.bincount(window.sales.cashier, weights=window.sales.n, minlength=size)
    made = np.bincount(window.sales.cashier, weights=window.sales.n_checked, minlength=size)
    share = made.sum() / n.sum()
    binomial = (stats.binom.cdf(made, n, share) + stats.binom.cdf(made - 1, n, share)) / 2
    chance = share * (1 - share) / n
    z = np.clip((made / n - share) / np.sqrt(chance), -WINSOR, WINSOR)
    weight = 1 / chance
    excess = (size * (z @ z / size) - (size - 1)) / (weight.sum() - weight @ weight / weight.sum())
    additive = stats.norm.cdf((made / n - share) / np.sqrt(chance + max(excess, 0)))
    return binomial, additive


def shares(p_values: list[np.ndarray]) -> str:
    """Return the shares below .05 and below .002."""
    p = np.concatenate(p_values)
    return f"{(p < 0.05).mean():.3f} / {(p < 0.002).mean():.4f}"


def without_guard(window: Window) -> Window:
    """Remove the shifts of the control receipts, by giving every cashier those of the chain."""
    control = window.control
    mean, square, under_27, under_cap = (
        values.sum() / control.n.sum()
        for values in (control.age_sum, control.square_sum, control.n_under_27, control.n_under_cap)
    )
    flat = replace(
        control,
        age_sum=mean * control.n,
        square_sum=square * control.n,
        n_under_27=under_27 * control.n,
        n_under_cap=under_cap * control.n,
    )
    return replace(window, control=flat)


def measure(test: Test, seeds: range) -> list[str]:
    """Return the row of a test."""
    p_check, binomial, additive, watch, review = [], [], [], [], []
    n_review = n_honest_review = 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        chain, chosen = test.draw(rng)
        window = chains.window(rng, chain)
        result = screen(window if test.guard else without_guard(window), Rule())
        status = np.array(result.status)
        if test.kind == "honest":
            chosen = chosen & result.is_tested
        p_value = np.where(result.is_tested, result.p_check, 1)  # a planted one who is not tested is not found
        raw, spiegelhalter = raw_rates(window)
        p_check.append(p_value[chosen])
        binomial.append(raw[chosen])
        additive.append(spiegelhalter[chosen])
        watch.append(np.isin(status[chosen], ("watch", "review")))
        review.append(status[chosen] == "review")
        n_review += (status == "review").sum()
        n_honest_review += ((status == "review") & (chain.kind == "honest")).sum()
    return [
        test.name,
        shares(p_check),
        f"{np.concatenate(watch).mean():.3f}",
        f"{np.concatenate(review).mean():.4f}",
        f"{n_honest_review} of {n_review}",
        test.target,
        shares(binomial),
        shares(additive),
    ]


def spreads(seeds: range) -> list[list[str]]:
    """Return the estimated spreads of chains whose log odds have the standard deviations .25 and .15."""
    rows = []
    for name, has_age_errors in (("ages known", False), ("estimated ages", True)):
        found = []
        for seed in seeds:
            rng = np.random.default_rng(seed)
            chain = replace(chains.honest(rng), has_age_errors=has_age_errors)
            spread = screen(chains.window(rng, chain), Rule()).spread
            found.append((spread.tau, spread.tau_store))
        mean, deviation = np.mean(found, axis=0), np.std(found, axis=0)
        rows.append([name, *(f"{m:.3f} (sd {d:.3f})" for m, d in zip(mean, deviation, strict=True))])
    return rows


def main(settings: Settings) -> None:
    """Print the tables."""
    seeds = range(1000, 1000 + settings.seeds)
    headers = [
        "share of cashiers",
        "p < .05 / .002",
        "watch",
        "review",
        "honest reviews",
        "target",
        "raw rate",
        "Spiegelhalter",
    ]
    for title, tests in (("honest cashiers", HONEST), ("planted cashiers, spread .2 or .4", PLANTED)):
        rows = [measure(test, seeds) for test in tqdm(tests, title, unit="test", disable=None)]
        print(f"\n{title}, seeds {seeds[0]} to {seeds[-1]}\n{tabulate(rows, headers=headers, disable_numparse=True)}")
    rows = spreads(seeds)
    print(f"\nspread of log odds\n{tabulate(rows, headers=['', 'cashiers, true .25', 'stores, true .15'])}")
    rng = np.random.default_rng(1000)
    window = chains.window(rng, chains.honest(rng, n_stores=-(-settings.largest // 12)))
    start, cpu = time.perf_counter(), time.process_time()
    result: Screening = screen(window, Rule())
    print(f"\n{result.n.size} cashiers: {time.perf_counter() - start:.1f} s, {time.process_time() - cpu:.1f} s of CPU")


if __name__ == "__main__":
    run(main, Settings)
