"""The comparison of a cashier's reviewed sales with those of colleagues."""

import pytest

from jobs.review_cases import comparison


def case(role: str, looks: str, seen: str) -> dict:
    return {"role": role, "looks_under_25": looks, "id_seen": seen}


def test_buyers_judged_to_look_under_25_are_counted_and_not_tested():
    cases = [case("cashier", "yes", "no")] * 6 + [case("cashier", "no", "yes")] * 6
    cases += [case("colleague", "yes", "yes")] * 6 + [case("colleague", "unclear", "yes")] * 6
    cases += [case("attention_check", "yes", "no")] * 9
    everyone, young = comparison(cases).rows
    assert everyone[1:5] == (6, 12, 12, 12)
    assert everyone[5:] == ("0.0069", "asked less often than colleagues beyond chance")  # C(12, 6) / C(24, 18)
    assert young[1:] == (0, 6, 6, 6, "", "")


@pytest.mark.parametrize(("n", "n_colleagues"), [(20, 0), (20, 9), (4, 40)])
def test_few_sales_are_not_compared(n, n_colleagues):
    cases = [case("cashier", "yes", "no")] * n + [case("colleague", "yes", "yes")] * n_colleagues
    everyone, _ = comparison(cases).rows
    assert everyone[1:] == (0, n, n_colleagues, n_colleagues, "", "too few sales to compare")
