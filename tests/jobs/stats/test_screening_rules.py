"""The rules of the status, on results that are written by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from jobs.stats.control import Control
from jobs.stats.funnel import Spread
from jobs.stats.screening import Rule, Screening, Stores
from jobs.stats.young import Young

LOOSEST = Rule(min_sales=1, watch_p=1.0, watch_young_p=1.0, review_sales=1, review_q=0.2, review_ratio=1.0)
"""Looser than the flags of the job allow."""


def result(rule=None, **columns) -> Screening:
    """Return the result for one cashier, who is in review unless told otherwise."""
    values = {
        "n": 20.0, "made": 5.0, "expected": 10.0, "p_check": 0.001, "q_value": 0.01, "is_tested": True,
        "p_young": 0.5, "flag": False,
    } | columns  # fmt: skip
    of = {name: np.array([value]) for name, value in values.items()}
    one = np.ones(1)
    p_young, flag = of.pop("p_young"), of.pop("flag")
    return Screening(
        **of,
        **dict.fromkeys(("limit_low_95", "limit_low_998", "limit_high_95", "limit_high_998"), one),
        **dict.fromkeys(("ratio", "ratio_low", "ratio_high", "detectable_ratio"), one),
        young=Young(observed=one, expected=one, p_value=p_young, tau=0.0),
        control=Control(n=one, shift=one, z=one, correction=one, flag=flag),
        spread=Spread(
            tau=0.0, tau_store=0.0, colleagues=one, colleagues_variance=one, store_effect=one, store_variance=one
        ),
        stores=Stores(**dict.fromkeys(Stores.__dataclass_fields__, one)),
        rule=rule or Rule(),
    )


def status(rule=None, **columns):
    return result(rule, **columns).status[0]


def test_a_review_needs_sales_a_small_q_value_and_a_small_ratio():
    assert status(n=15.0, q_value=0.05, made=7.5) == "review"
    assert status(n=14.0) == "watch"
    assert status(q_value=0.051) == "watch"
    assert status(made=7.6) == "watch"


def test_a_review_needs_few_checks_whatever_its_q_value():
    assert status(p_check=0.03, q_value=0.03) == "within_limits"


def test_few_checks_are_watched():
    usual = {"q_value": 0.9}
    assert status(p_check=0.0249, **usual) == "watch"
    assert status(p_check=0.025, **usual) == "within_limits"


def test_young_faces_are_watched():
    usual = {"p_check": 0.5, "q_value": 0.9}
    assert status(p_young=0.0099, **usual) == "watch"
    assert status(p_young=0.01, **usual) == "within_limits"


def test_a_flagged_shift_switches_young_faces_off_and_nothing_else():
    usual = {"p_check": 0.5, "q_value": 0.9}
    assert status(p_young=0.0, flag=True, **usual) == "within_limits"
    assert not result(p_young=0.0, flag=True).has_young_faces[0]
    assert status(flag=True) == "review"


def test_of_a_cashier_who_is_not_tested_nothing_is_said():
    columns = {"is_tested": False, "p_young": 0.0, "p_check": 0.0, "q_value": 0.0, "made": 0.0}
    for rule in (Rule(), LOOSEST):
        screened = result(rule, **columns)
        assert screened.status == ["insufficient_data"]
        assert not (screened.is_review | screened.has_few_checks | screened.has_young_faces).any()


@pytest.mark.parametrize("rule", [Rule(), LOOSEST])
def test_young_faces_alone_never_lead_to_a_review(rule):
    normal_checks = {"n": 1000.0, "made": 400.0, "expected": 400.0, "p_check": 0.5, "q_value": 0.9}
    assert status(rule, p_young=0.0, **normal_checks) == "watch"


@given(
    q_value=st.floats(0, 1), made=st.integers(0, 30), n=st.integers(1, 60), p_young=st.floats(0, 1), flag=st.booleans()
)
def test_whether_a_cashier_is_in_review_does_not_depend_on_young_faces(q_value, made, n, p_young, flag):
    columns = {"q_value": q_value, "made": float(made), "n": float(n), "p_check": q_value}
    for rule in (Rule(), LOOSEST):
        without = result(rule, **columns, p_young=1.0)
        assert result(rule, **columns, p_young=p_young, flag=flag).is_review[0] == without.is_review[0]


def test_each_threshold_is_a_setting():
    one_more = {"n": 14.0, "made": 9.0, "q_value": 0.1, "p_check": 0.05, "p_young": 0.05}
    assert status(**one_more) == "within_limits"
    assert status(Rule(watch_p=0.06, review_sales=14, review_q=0.1, review_ratio=0.9), **one_more) == "review"
    assert status(Rule(watch_p=0.06), **one_more) == "watch"
    assert status(Rule(watch_young_p=0.06), **one_more) == "watch"


def test_expected_false_alarms_are_those_of_the_tested():
    tested = result()
    assert tested.n_false_alarms == pytest.approx(0.035)
    assert replace(tested, is_tested=np.array([False])).n_false_alarms == 0
    assert result(Rule(watch_p=0.1, watch_young_p=0.05)).n_false_alarms == pytest.approx(0.15)
