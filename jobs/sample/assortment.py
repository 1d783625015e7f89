"""What the sample chain sells and who buys it: the model whose affinities are known in closed form.

- A shopper of age `a` has category `c` in the basket with probability
  `p_c(a) = base * exp(tilt * (a - 45) / 10 + bump * exp(-((a - peak) / width)^2 / 2))`, at most 0.95 and
  independently of every other category. Bread is always bought, so no basket is empty.
- Restricted categories are sold to under-18s at 2 % of that probability.
- Which product of the category it is does not depend on age: a product has the index of its category.
- The true affinity index of a band and a category is therefore `100 * E[p_c | band] / E[p_c]`, the
  expectations taken over the ages of the shoppers.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.tables.bands import DEFAULT_BANDS, AgeBand, age_bands
from jobs.tables.schemas import LANDING

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

AGE_YEARS: Ints = np.arange(10, 96)
"""Ages that shop, in completed years."""

_VISITS = np.interp(
    AGE_YEARS, [10, 13, 17, 20, 25, 40, 60, 72, 85, 95], [0.15, 0.3, 0.8, 1.5, 2.0, 2.4, 2.3, 1.6, 0.5, 0.1]
)
AGE_SHARE: Floats = _VISITS / _VISITS.sum()
"""Share of receipts of each of `AGE_YEARS`; adds up to 1. 2.5 % are under 18."""

BANDS: list[AgeBand] = age_bands(DEFAULT_BANDS)
"""The default age bands, for which the truth is stated."""

EXTRA_LINE_SHARE = 0.12
"""Share of bought categories that put a second line, perhaps of the same product, on the receipt."""

ADULT_AGE = 18
_SOLD_TO_MINORS = 0.02
_LARGEST_PROBABILITY = 0.95


@dataclass(frozen=True)
class Category:
    """A category and the parameters of its `p_c(age)`."""

    department: str
    name: str
    base: float
    price: float  # a typical one, in the currency of the store
    tilt: float  # per decade
    bump: float
    peak: float  # years
    width: float  # years

    @property
    def is_alcohol(self) -> bool:
        """Whether its products are alcoholic drinks."""
        return self.department == "Alcohol"

    @property
    def is_restricted(self) -> bool:
        """Whether its products may be sold to adults only."""
        return self.department in {"Alcohol", "Tobacco"}


def _department(name: str, *rows: tuple[str, float, float, float, float, float, float]) -> list[Category]:
    return [Category(name, *row) for row in rows]


CATEGORIES: list[Category] = [
    *_department(
        "Bakery",
        ("Bread", 1.0, 2.2, 0.0, 0.0, 45, 1),
        ("Pastries", 0.18, 1.9, 0.0, 0.7, 15, 8),
        ("Cakes", 0.10, 6.5, 0.08, 0.0, 45, 1),
    ),
    *_department(
        "Produce",
        ("Bananas", 0.34, 1.4, 0.03, 0.0, 45, 1),
        ("Apples", 0.28, 2.3, 0.05, 0.0, 45, 1),
        ("Salads", 0.26, 2.6, 0.0, 0.4, 32, 12),
        ("Potatoes", 0.26, 2.4, 0.12, 0.0, 45, 1),
        ("Berries", 0.18, 3.8, 0.0, 0.4, 35, 10),
        ("Avocados", 0.11, 1.8, -0.18, 0.0, 45, 1),
    ),
    *_department(
        "Dairy",
        ("Milk", 0.46, 1.3, 0.0, 0.3, 38, 12),
        ("Cheese", 0.36, 3.9, 0.04, 0.0, 45, 1),
        ("Yogurt", 0.32, 1.1, -0.05, 0.0, 45, 1),
        ("Butter", 0.24, 2.7, 0.12, 0.0, 45, 1),
        ("Eggs", 0.30, 2.9, 0.0, 0.0, 45, 1),
        ("Plant Drinks", 0.11, 2.2, -0.28, 0.0, 45, 1),
    ),
    *_department(
        "Meat and Fish",
        ("Beef", 0.17, 7.9, 0.0, 0.3, 50, 14),
        ("Poultry", 0.26, 6.4, -0.04, 0.0, 45, 1),
        ("Sausages", 0.24, 3.6, 0.08, 0.0, 45, 1),
        ("Fish", 0.13, 6.9, 0.18, 0.0, 45, 1),
        ("Meat Alternatives", 0.06, 3.9, -0.35, 0.0, 45, 1),
    ),
    *_department(
        "Grocery",
        ("Pasta", 0.24, 1.6, -0.12, 0.0, 45, 1),
        ("Cereals", 0.15, 3.4, 0.0, 0.6, 38, 9),
        ("Coffee", 0.23, 6.2, 0.14, 0.0, 45, 1),
        ("Tea", 0.11, 2.9, 0.20, 0.0, 45, 1),
        ("Canned Soups", 0.08, 2.1, 0.15, 0.0, 45, 1),
        ("Instant Noodles", 0.06, 1.2, 0.0, 1.5, 21, 6),
    ),
    *_department(
        "Snacks",
        ("Chocolate", 0.26, 1.7, -0.04, 0.4, 14, 8),
        ("Crisps", 0.23, 2.1, -0.20, 0.0, 45, 1),
        ("Sweets", 0.14, 1.5, 0.0, 1.3, 12, 7),
    ),
    *_department(
        "Frozen",
        ("Frozen Pizza", 0.14, 3.7, -0.22, 0.5, 22, 8),
        ("Ice Cream", 0.14, 4.1, 0.0, 0.6, 13, 10),
        ("Frozen Vegetables", 0.18, 2.4, 0.05, 0.0, 45, 1),
    ),
    *_department(
        "Drinks",
        ("Soft Drinks", 0.27, 1.8, -0.15, 0.0, 45, 1),
        ("Energy Drinks", 0.04, 1.6, -0.10, 1.6, 20, 6),
        ("Mineral Water", 0.24, 0.9, 0.06, 0.0, 45, 1),
    ),
    *_department(
        "Alcohol",
        ("Beer", 0.13, 6.8, 0.0, 0.5, 38, 14),
        ("Wine", 0.12, 7.5, 0.14, 0.0, 45, 1),
        ("Spirits", 0.04, 15.5, 0.0, 0.9, 24, 7),
    ),
    *_department("Tobacco", ("Tobacco", 0.07, 8.4, 0.0, 0.4, 45, 15)),
    *_department(
        "Household and Care",
        ("Baby Care", 0.012, 9.8, 0.0, 2.4, 32, 5),
        ("Cosmetics", 0.06, 7.1, -0.08, 0.8, 23, 7),
        ("Vitamins", 0.06, 8.2, 0.22, 0.0, 45, 1),
        ("Cat Food", 0.10, 4.6, 0.03, 0.0, 45, 1),
        ("Flowers", 0.06, 5.9, 0.20, 0.0, 45, 1),
    ),
]

_RANGES = ["House", "Value", "Organic", "Premium", "Regional", "Family Pack", "Mini", "Classic", "Light",
           "Traditional", "Fresh", "Extra", "Import", "Seasonal"]  # fmt: skip


def category_probability(age_years: Ints) -> Floats:
    """Return `p_c(age)`, shape (n_ages, n_categories), columns in the order of `CATEGORIES`."""
    age = age_years[:, None].astype(np.float64)
    base, tilt, bump, peak, width = (
        np.array([getattr(category, field) for category in CATEGORIES])
        for field in ("base", "tilt", "bump", "peak", "width")
    )
    log_factor = tilt * (age - 45) / 10 + bump * np.exp(-0.5 * ((age - peak) / width) ** 2)
    probability = np.where(base == 1.0, 1.0, np.minimum(base * np.exp(log_factor), _LARGEST_PROBABILITY))
    restricted = np.array([category.is_restricted for category in CATEGORIES])
    return np.where(restricted & (age < ADULT_AGE), _SOLD_TO_MINORS * probability, probability)


def category_affinity() -> pa.Table:
    """Return the true `affinity_index` (100 = like everybody) of every `age_band` and `category`."""
    probability = category_probability(AGE_YEARS)
    everybody = AGE_SHARE @ probability
    rows = []
    for band in BANDS:
        share = AGE_SHARE * ((band.from_years <= AGE_YEARS) & (band.to_years >= AGE_YEARS))
        index = 100 * (share / share.sum()) @ probability / everybody
        rows += [
            {"age_band": band.age_band, "category": category.name, "affinity_index": round(float(value), 4)}
            for category, value in zip(CATEGORIES, index, strict=True)
        ]
    return pa.Table.from_pylist(rows)


@dataclass(frozen=True, kw_only=True)
class Assortment:
    """The products, in the order of their categories, and how often each is picked within its category."""

    products: pa.Table  # the landing table
    price: Floats  # (n_products,) currency of the store
    restricted: npt.NDArray[np.bool_]  # (n_products,)
    cumulative: Floats  # (n_products,) category number + share of the category's sales up to this product

    def pick(self, category: Ints, uniform: Floats) -> Ints:
        """Return the product number for each category number and uniform number in [0, 1)."""
        below_next = np.nextafter(category + 1.0, 0)  # a sum that rounds up would be of the next category
        drawn = np.minimum(category + uniform, below_next)
        product: Ints = np.searchsorted(self.cumulative, drawn, side="right")
        return product


def assortment(seed: int) -> Assortment:
    """Return 8 to 14 products a category with Zipf popularity, prices around the category's."""
    rng = np.random.default_rng([seed, 0])
    rows, price, cumulative = [], [], []
    for number, category in enumerate(CATEGORIES):
        n_products = int(rng.integers(8, len(_RANGES) + 1))
        popularity = np.cumsum(1 / np.arange(1, n_products + 1))
        popularity /= popularity[-1]  # the last is exactly 1: every uniform number finds a product
        cumulative.append(number + popularity)
        price.append(np.round(category.price * np.exp(rng.normal(0, 0.3, n_products)), 2))
        rows += [
            {
                "product_name": f"{_RANGES[variant]} {category.name}",
                "category": category.name,
                "department": category.department,
                "min_age": ADULT_AGE if category.is_restricted else None,
                "is_alcohol": category.is_alcohol,
            }
            for variant in range(n_products)
        ]
    rows = [{"product_id": f"{100001 + number}", **row} for number, row in enumerate(rows)]
    products = pa.Table.from_pylist(rows, schema=LANDING["products"])
    return Assortment(
        products=products,
        price=np.concatenate(price),
        restricted=products["min_age"].is_valid().to_numpy(),
        cumulative=np.concatenate(cumulative),
    )
