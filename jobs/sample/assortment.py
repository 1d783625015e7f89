"""Products and shoppers of the sample chain, with true affinities in closed form.

- A shopper of age `a` buys category `c` with probability
  `p_c(a) = base * exp(tilt * (a - 45) / 10 + bump * exp(-((a - peak) / width)^2 / 2))`, at most 0.95, independently of
  other categories. Every shopper buys bread, so no basket is empty.
- For shoppers under 18, the probability of restricted categories is 2 % of that.
- The product within a category does not depend on age, so a product has the index of its category.
- The true affinity index of a band and a category is `100 * E[p_c | band] / E[p_c]`, over the ages of the shoppers.
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
"""Ages of shoppers, in completed years."""

_VISITS = np.interp(
    AGE_YEARS, [10, 13, 17, 20, 25, 40, 60, 72, 85, 95], [0.15, 0.3, 0.8, 1.5, 2.0, 2.4, 2.3, 1.6, 0.5, 0.1]
)
AGE_SHARE: Floats = _VISITS / _VISITS.sum()
"""Share of receipts of each of `AGE_YEARS`; adds up to 1. 2.5 % are under 18."""

BANDS: list[AgeBand] = age_bands(DEFAULT_BANDS)
"""Age bands of the truth."""

EXTRA_LINE_SHARE = 0.12
"""Share of bought categories with a second line on the receipt, possibly of the same product."""

ADULT_AGE = 18
_RESTRICTED = ("Alcohol", "Tobacco")  # departments with products for adults only
_SOLD_TO_MINORS = 0.02
_LARGEST_PROBABILITY = 0.95


@dataclass(frozen=True)
class Category:
    """A category and the parameters of its `p_c(age)`."""

    department: str
    name: str
    base: float
    price: float  # median, in the currency of the store
    tilt: float = 0  # per decade
    bump: float = 0
    peak: float = 45  # years
    width: float = 1  # years


_CATEGORIES: dict[str, dict[str, tuple[float, ...]]] = {
    "Bakery": {"Bread": (1.0, 2.2), "Pastries": (0.18, 1.9, 0.0, 0.7, 15, 8), "Cakes": (0.10, 6.5, 0.08)},
    "Produce": {"Bananas": (0.34, 1.4, 0.03), "Apples": (0.28, 2.3, 0.05), "Salads": (0.26, 2.6, 0.0, 0.4, 32, 12),
        "Potatoes": (0.26, 2.4, 0.12), "Berries": (0.18, 3.8, 0.0, 0.4, 35, 10), "Avocados": (0.11, 1.8, -0.18)},
    "Dairy": {"Milk": (0.46, 1.3, 0.0, 0.3, 38, 12), "Cheese": (0.36, 3.9, 0.04), "Yogurt": (0.32, 1.1, -0.05),
        "Butter": (0.24, 2.7, 0.12), "Eggs": (0.30, 2.9), "Plant Drinks": (0.11, 2.2, -0.28)},
    "Meat and Fish": {"Beef": (0.17, 7.9, 0.0, 0.3, 50, 14), "Poultry": (0.26, 6.4, -0.04),
        "Sausages": (0.24, 3.6, 0.08), "Fish": (0.13, 6.9, 0.18), "Meat Alternatives": (0.06, 3.9, -0.35)},
    "Grocery": {"Pasta": (0.24, 1.6, -0.12), "Cereals": (0.15, 3.4, 0.0, 0.6, 38, 9), "Coffee": (0.23, 6.2, 0.14),
        "Tea": (0.11, 2.9, 0.2), "Canned Soups": (0.08, 2.1, 0.15), "Instant Noodles": (0.06, 1.2, 0.0, 1.5, 21, 6)},
    "Snacks": {"Chocolate": (0.26, 1.7, -0.04, 0.4, 14, 8), "Crisps": (0.23, 2.1, -0.2),
        "Sweets": (0.14, 1.5, 0.0, 1.3, 12, 7)},
    "Frozen": {"Frozen Pizza": (0.14, 3.7, -0.22, 0.5, 22, 8), "Ice Cream": (0.14, 4.1, 0.0, 0.6, 13, 10),
        "Frozen Vegetables": (0.18, 2.4, 0.05)},
    "Drinks": {"Soft Drinks": (0.27, 1.8, -0.15), "Energy Drinks": (0.04, 1.6, -0.1, 1.6, 20, 6),
        "Mineral Water": (0.24, 0.9, 0.06)},
    "Alcohol": {"Beer": (0.13, 6.8, 0.0, 0.5, 38, 14), "Wine": (0.12, 7.5, 0.14),
        "Spirits": (0.04, 15.5, 0.0, 0.9, 24, 7)},
    "Tobacco": {"Tobacco": (0.07, 8.4, 0.0, 0.4, 45, 15)},
    "Household and Care": {"Baby Care": (0.012, 9.8, 0.0, 2.4, 32, 5), "Cosmetics": (0.06, 7.1, -0.08, 0.8, 23, 7),
        "Vitamins": (0.06, 8.2, 0.22), "Cat Food": (0.10, 4.6, 0.03), "Flowers": (0.06, 5.9, 0.2)},
}  # fmt: skip
"""Fields of `Category` by department and name: base, price, tilt, bump, peak and width."""

CATEGORIES = [
    Category(department, name, *parameters)
    for department, categories in _CATEGORIES.items()
    for name, parameters in categories.items()
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
    restricted = np.array([category.department in _RESTRICTED for category in CATEGORIES])
    return np.where(restricted & (age < ADULT_AGE), _SOLD_TO_MINORS * probability, probability)


def category_affinity() -> pa.Table:
    """Return the true `affinity_index` (100 = the average of all shoppers) of every `age_band` and `category`."""
    probability = category_probability(AGE_YEARS)
    probability_all = AGE_SHARE @ probability
    rows = []
    for band in BANDS:
        share = AGE_SHARE * ((band.from_years <= AGE_YEARS) & (band.to_years >= AGE_YEARS))
        index = 100 * (share / share.sum()) @ probability / probability_all
        rows += [
            {"age_band": band.age_band, "category": category.name, "affinity_index": round(float(value), 4)}
            for category, value in zip(CATEGORIES, index, strict=True)
        ]
    return pa.Table.from_pylist(rows)


@dataclass(frozen=True, kw_only=True)
class Assortment:
    """The products, in the order of their categories, and their popularity."""

    products: pa.Table  # the landing table
    price: Floats  # (n_products,) currency of the store
    restricted: npt.NDArray[np.bool_]  # (n_products,)
    cumulative: Floats  # (n_products,) category number + share of this product and those before it in its category

    def pick(self, category: Ints, uniform: Floats) -> Ints:
        """Return the product number for each category number and uniform number in [0, 1)."""
        largest = np.nextafter(category + 1.0, 0)  # the sum must not be rounded up to the next category
        product: Ints = np.searchsorted(self.cumulative, np.minimum(category + uniform, largest), side="right")
        return product


def assortment(seed: int) -> Assortment:
    """Return 8 to 14 products per category, with Zipf popularity and log-normal prices."""
    rng = np.random.default_rng([seed, 0])
    rows, price, cumulative = [], [], []
    for number, category in enumerate(CATEGORIES):
        n_products = int(rng.integers(8, len(_RANGES) + 1))
        popularity = np.cumsum(1 / np.arange(1, n_products + 1))
        popularity /= popularity[-1]  # the last is exactly 1, so that every uniform number gives a product
        cumulative.append(number + popularity)
        price.append(np.round(category.price * np.exp(rng.normal(0, 0.3, n_products)), 2))
        rows += [
            {
                "product_name": f"{_RANGES[variant]} {category.name}",
                "category": category.name,
                "department": category.department,
                "min_age": ADULT_AGE if category.department in _RESTRICTED else None,
                "is_alcohol": category.department == "Alcohol",
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
