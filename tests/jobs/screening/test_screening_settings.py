"""Wrong settings of the screening."""

import datetime as dt

import pytest

from jobs.screen_cashiers import Settings
from model.cli import InputError

DATES = [dt.date(2026, 11, 9)]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"screening_days": ()}, r"screening_days is \(\); it must be one or more different numbers from 1 to 28"),
        ({"screening_days": (0,)}, r"screening_days is \(0,\); it must be"),
        ({"screening_days": (7, 29)}, r"screening_days is \(7, 29\); it must be"),
        ({"screening_days": (7, 7)}, r"screening_days is \(7, 7\); it must be"),
        ({"hour_blocks": ()}, r"hour_blocks is \(\); it must be hours from 0 to 23, ascending, such as 5 12 16 19"),
        ({"hour_blocks": (12, 5)}, r"hour_blocks is \(12, 5\); it must be hours from 0 to 23, ascending"),
        ({"hour_blocks": (5, 5)}, r"hour_blocks is \(5, 5\); it must be"),
        ({"hour_blocks": (5, 24)}, r"hour_blocks is \(5, 24\); it must be"),
        ({"min_sales": 4}, "min_sales is 4; it must be at least 5"),
        ({"review_sales": 14}, "review_sales is 14; it must be at least 15"),
        ({"min_sales": 20}, "review_sales is 15; it must be at least 20"),
        ({"watch_p": 0.0}, "watch_p is 0.0; it must be above 0 and at most 0.025"),
        ({"watch_p": 0.026}, "watch_p is 0.026; it must be"),
        ({"watch_p": float("nan")}, "watch_p is nan; it must be"),
        ({"watch_young_p": 0.02}, "watch_young_p is 0.02; it must be above 0 and at most 0.01"),
        ({"review_q": 0.06}, "review_q is 0.06; it must be above 0 and at most 0.05"),
        ({"review_ratio": 0.8}, "review_ratio is 0.8; it must be above 0 and at most 0.75"),
    ],
)
def test_wrong_settings_are_named_with_their_value_and_what_is_right(flags, message):
    with pytest.raises(InputError, match=message):
        Settings(business_date=DATES[0], warehouse="warehouse", **flags)
