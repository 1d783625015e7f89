"""Draw one business date of the sample chain: receipts, lines and photo events, in blocks of tills.

The receipts of a till do not overlap. Only baskets (see `jobs.sample.assortment`) and ID checks depend on the age. All
steps work on arrays, without a loop over receipts.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.sample import assortment as sample_assortment
from jobs.sample.assortment import Assortment, Ints
from jobs.sample.cashiers import CHECKS, Staff, check_probability
from jobs.tables.schemas import LANDING

Tables = dict[str, pa.Table]

AGES = pa.schema({"photo_id": pa.string(), "receipt_id": pa.string(), "true_age": pa.int32()})
"""True ages: one row per photo; a receipt without a photo has one row with a null photo_id."""

RECEIPTS_PER_TILL = 150
"""Maximum of a till and date; with 165 s per customer and the gaps, they fill the day."""

_OPEN_SECONDS = 15 * 3600
_CUSTOMER_SECONDS = 165
_SECOND = 1_000_000  # microseconds


@dataclass(frozen=True, kw_only=True)
class Tills:
    """The tills of the chain, store by store; arrays of shape (n_tills,)."""

    store: Ints
    number: Ints  # within the store
    first_cashier: Ints  # of three, one per shift
    first_receipt: Ints  # of the date, counted over the chain
    n_receipts: Ints  # on each date
    is_self: npt.NDArray[np.bool_]
    photo_share: npt.NDArray[np.float64]  # share of the receipts with at least one photo

    def blocks(self, n_receipts: int) -> Iterator["Tills"]:
        """Split the tills into blocks of about `n_receipts` receipts."""
        per_block = max(1, n_receipts // max(1, int(self.n_receipts.max())))
        for start in range(0, self.store.size, per_block):
            block = slice(start, start + per_block)
            yield Tills(**{field.name: getattr(self, field.name)[block] for field in fields(self)})


def plan_tills(n_stores: int, receipts_per_day: int) -> Tills:
    """Return at least four tills per store; every third is a self-checkout, every seventh has a poor camera."""
    per_store = max(4, -(-receipts_per_day // (n_stores * RECEIPTS_PER_TILL)))
    till = np.arange(n_stores * per_store)
    n_receipts = receipts_per_day // till.size + (till < receipts_per_day % till.size)
    return Tills(
        store=till // per_store,
        number=till % per_store,
        first_cashier=3 * till,
        first_receipt=np.cumsum(n_receipts) - n_receipts,
        n_receipts=n_receipts,
        is_self=till % per_store % 3 == 2,
        photo_share=np.where(till % 7 == 6, 0.66, 0.92),
    )


def _texts(prefix: str, numbers: Ints, width: int) -> pa.Array:
    digits = pc.utf8_lpad(pc.cast(pa.array(numbers), pa.string()), width, "0")
    return pc.binary_join_element_wise(prefix, digits, "")


def store_ids(stores: Ints) -> pa.Array:
    """Return the `store_id` of stores by their numbers."""
    return _texts("ST", stores, 2)


def till_ids(tills: Ints) -> pa.Array:
    """Return the `till_id` of tills by their numbers within the store."""
    return _texts("T", tills, 1)


def cashier_ids(cashiers: Ints) -> pa.Array:
    """Return the `cashier_id` of cashiers by their numbers, counted over the chain."""
    return _texts("C", cashiers, 4)


def _timestamps(microseconds: Ints) -> pa.Array:
    return pa.array(microseconds).cast(pa.timestamp("us", tz="UTC"))


def draw_lines(
    rng: np.random.Generator, age_years: Ints, receipt_id: pa.Array, goods: Assortment
) -> tuple[pa.Table, Ints, npt.NDArray[np.bool_]]:
    """Return receipt_lines, and for each receipt the number of lines and whether it has a restricted product."""
    probability = sample_assortment.category_probability(np.arange(age_years.max() + 1)).astype(np.float32)
    bought = rng.random((age_years.size, probability.shape[1]), dtype=np.float32) < probability[age_years]
    receipt, category = np.nonzero(bought)
    lines = 1 + (rng.random(receipt.size, dtype=np.float32) < sample_assortment.EXTRA_LINE_SHARE)
    receipt, category = np.repeat(receipt, lines), np.repeat(category, lines)
    product = goods.pick(category, rng.random(receipt.size))
    n_lines = np.bincount(receipt, minlength=age_years.size)
    first_line = np.cumsum(n_lines) - n_lines
    quantity = np.array([1.0, 2.0, 3.0])[rng.choice(3, receipt.size, p=[0.8, 0.15, 0.05])]
    restricted = np.bincount(receipt, weights=goods.restricted[product], minlength=age_years.size) > 0
    columns = {
        "receipt_id": receipt_id.take(pa.array(receipt)),
        "line_no": pa.array((np.arange(receipt.size) - first_line[receipt] + 1).astype(np.int32)),
        "product_id": goods.products["product_id"].combine_chunks().take(pa.array(product)),
        "quantity": quantity,
        "amount": np.round(quantity * goods.price[product], 2),
    }
    return pa.table(columns, schema=LANDING["receipt_lines"]), n_lines, restricted


def draw_times(rng: np.random.Generator, n_lines: Ints, till_receipts: Ints) -> tuple[Ints, Ints]:
    """Return when each receipt opens and closes, in microseconds after the stores open, ordered by till.

    A receipt takes 40 to 300 s, depending on its lines. The gap before it is 1 s plus an exponential time; a few per
    cent of the gaps are below 10 s.
    """
    duration = np.clip(25 + 12 * n_lines + rng.exponential(20, n_lines.size), 40, 300)
    typical_gap = 0.9 * _OPEN_SECONDS / np.maximum(till_receipts, 1) - _CUSTOMER_SECONDS
    typical_gap = np.minimum(typical_gap, 240)  # a till with few receipts opens for a part of the day
    first_opening = rng.uniform(0, _OPEN_SECONDS - till_receipts * (typical_gap + _CUSTOMER_SECONDS))
    gap = 1 + rng.exponential(np.repeat(typical_gap, till_receipts))
    served = np.cumsum(duration + gap)
    earlier_tills = np.concatenate([[0], served])[np.cumsum(till_receipts) - till_receipts]
    closed = served + np.repeat(first_opening - earlier_tills, till_receipts)
    return ((closed - duration) * _SECOND).astype(np.int64), (closed * _SECOND).astype(np.int64)


def draw_receipts(
    rng: np.random.Generator, date: dt.date, tills: Tills, goods: Assortment, staff: Staff | None = None
) -> Tables:
    """Return the landing tables of some tills on one date, and the true ages as `ages`.

    With `staff`, its cashiers sell, and whether a document was shown is returned as `checks`. Otherwise each till has
    three cashiers, who all check alike.
    """
    till = np.repeat(np.arange(tills.store.size), tills.n_receipts)
    receipt_id = _texts(f"R{date:%y%m%d}-", tills.first_receipt[0] + np.arange(till.size), 7)
    age_years = rng.choice(sample_assortment.AGE_YEARS, till.size, p=sample_assortment.AGE_SHARE)
    if staff:
        age_years = staff.clientele(rng, tills.store[till], age_years)
    lines, n_lines, restricted = draw_lines(rng, age_years, receipt_id, goods)
    midnight = dt.datetime(date.year, date.month, date.day, tzinfo=dt.UTC)
    opening = (int(midnight.timestamp()) + 5 * 3600) * _SECOND  # 06:00 in UTC+1
    opened, closed = (opening + time for time in draw_times(rng, n_lines, tills.n_receipts))

    is_self = tills.is_self[till]
    if staff:
        number = staff.on_duty(date, tills.store[till], tills.number[till], (opened - opening) // _SECOND)
        age_years, checked, shown = staff.sell(rng, tills.store[till], number, age_years, restricted)
        cashier = tills.store[till] * staff.per_store + number
    else:
        cashier = tills.first_cashier[till] + np.minimum((opened - opening) // (7 * 3600 * _SECOND), 2)
        checked = shown = rng.random(till.size) < check_probability(age_years)
    cashier_id = cashier_ids(cashier)
    store_id = store_ids(tills.store).take(pa.array(till))
    till_id = till_ids(tills.number).take(pa.array(till))
    receipts = {
        "receipt_id": receipt_id,
        "store_id": store_id,
        "till_id": till_id,
        "till_type": pc.if_else(pa.array(is_self), "self", "staffed"),
        "cashier_id": pc.if_else(pa.array(is_self), None, cashier_id),
        "opened_at": _timestamps(opened),
        "closed_at": _timestamps(closed),
        "id_checked": pa.array(checked, mask=~restricted),
    }

    n_photos = (rng.random(till.size) < tills.photo_share[till]) * (1 + (rng.random(till.size) < 0.12))
    photo_receipt = np.repeat(np.arange(till.size), n_photos)
    photo_number = np.arange(photo_receipt.size) - (np.cumsum(n_photos) - n_photos)[photo_receipt]
    photo_id = pc.binary_join_element_wise(receipt_id.take(pa.array(photo_receipt)), _texts("", photo_number, 1), "-")
    photo_events = {
        "photo_id": photo_id,
        "store_id": store_id.take(pa.array(photo_receipt)),
        "till_id": till_id.take(pa.array(photo_receipt)),
        "captured_at": _timestamps(rng.integers(opened[photo_receipt], closed[photo_receipt])),
        "path": pc.binary_join_element_wise(f"photos/business_date={date}/", photo_id, ".jpg", ""),
    }
    age_receipt = np.repeat(np.arange(till.size), np.maximum(n_photos, 1))
    no_photo = n_photos[age_receipt] == 0
    ages = {
        "photo_id": photo_id.take(pa.array(np.cumsum(~no_photo) - 1, mask=no_photo)),
        "receipt_id": receipt_id.take(pa.array(age_receipt)),
        "true_age": age_years[age_receipt],
    }
    checks = {"receipt_id": receipt_id.filter(pa.array(restricted)), "id_shown": shown[restricted]}
    return {
        "photo_events": pa.table(photo_events, schema=LANDING["photo_events"]),
        "receipts": pa.table(receipts, schema=LANDING["receipts"]),
        "receipt_lines": lines,
        "ages": pa.table(ages, schema=AGES),
        "checks": pa.table(checks, schema=CHECKS),
    }
