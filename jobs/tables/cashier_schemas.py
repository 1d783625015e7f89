"""The tables about the sale of age-restricted goods. All are restricted; `analytics` contains nothing of cashiers.

A cashier is identified by store and `cashier_id`, which is the chain's pseudonym: ids may repeat between stores.
"""

import pyarrow as pa

CASHIERS: dict[str, pa.Schema] = {
    # Sums of a date. n_receipts counts all receipts; columns after age_year count the receipts with a photo, except
    # n_checked and n_check_unknown, which count all.
    "restricted/cashier_daily_counts": pa.schema(
        [
            ("business_date", pa.date32()),
            ("store_id", pa.string()),
            ("cashier_id", pa.string()),  # null: self-checkout
            ("hour", pa.int32()),  # 0-23, local time
            ("goods", pa.string()),  # alcohol, other_restricted, unrestricted
            ("age_year", pa.int32()),  # 14-60, clamped; null without a photo, and for unrestricted goods
            ("n_receipts", pa.int64()),
            ("n_with_photo", pa.int64()),
            ("n_checked", pa.int64()),  # id_checked is true; 0 for unrestricted goods
            ("n_check_unknown", pa.int64()),  # id_checked is null; 0 for unrestricted goods
            ("p_under_18_sum", pa.float64()),  # restricted goods, with a photo; otherwise 0
            # Of unrestricted goods, with a photo; otherwise 0. Capped: min(age, 60).
            ("age_capped_sum", pa.float64()),  # years
            ("age_capped_square_sum", pa.float64()),
            ("n_under_27", pa.int64()),
            ("n_under_60", pa.int64()),
        ]
    ),
    # Receipts of staffed tills with restricted goods, a cashier and a photo, from which review cases are drawn.
    "restricted/age_restricted_sales": pa.schema(
        [
            ("business_date", pa.date32()),
            ("receipt_id", pa.string()),
            ("store_id", pa.string()),
            ("till_id", pa.string()),
            ("cashier_id", pa.string()),
            ("opened_at", pa.timestamp("us", tz="UTC")),
            ("hour", pa.int32()),
            ("goods", pa.string()),
            ("age_years", pa.float64()),
        ]
    ),
    "restricted/cashier_screening": pa.schema(
        [
            ("business_date", pa.date32()),
            ("window_days", pa.int32()),
            ("store_id", pa.string()),
            ("cashier_id", pa.string()),
            ("n_days", pa.int32()),  # counted dates in the window
            ("n_restricted", pa.int64()),  # receipts with restricted goods
            ("n_with_photo", pa.int64()),  # of them with a photo and a known id_checked: what is screened
            ("n_check_unknown", pa.int64()),
            ("photo_share", pa.float64()),
            # Of sales whose buyer looks so young that a check has a probability of 0.2 or more.
            ("checks_made", pa.int64()),
            ("checks_expected", pa.float64()),
            ("checks_ratio", pa.float64()),
            # Of cashiers who differ as usual and by chance, 95 % and 99.8 % lie within these numbers of checks.
            ("limit_low_95", pa.float64()),
            ("limit_low_998", pa.float64()),
            ("limit_high_95", pa.float64()),
            ("limit_high_998", pa.float64()),
            ("checks_ratio_shrunk", pa.float64()),
            ("ratio_low", pa.float64()),  # 95 % interval of checks_ratio_shrunk
            ("ratio_high", pa.float64()),
            ("young_observed", pa.float64()),  # sum of probabilities, not of persons
            ("young_expected", pa.float64()),
            ("control_shift_years", pa.float64()),  # estimated ages of unrestricted receipts less those of colleagues
            ("control_z", pa.float64()),
            ("control_flag", pa.bool_()),  # large: young faces say nothing about this cashier
            # Null with insufficient data, like the limits, shrunk ratios and detectable_ratio.
            ("p_check", pa.float64()),  # of so few checks
            ("p_young", pa.float64()),  # of so many young faces
            ("q_value", pa.float64()),
            ("n_tested", pa.int32()),  # cashiers of the window
            ("tau", pa.float64()),  # spread of cashiers, of stores: standard deviations of log odds
            ("tau_store", pa.float64()),
            ("tau_young", pa.float64()),  # spread of cashiers, relative to the expected rates
            ("detectable_ratio", pa.float64()),  # largest ratio of checks below limit_low_998 in 80 % of cases; or null
            ("status", pa.string()),  # insufficient_data, within_limits, watch, review
            ("reasons", pa.list_(pa.string())),
            ("caveat", pa.string()),
            ("rule", pa.string()),  # the thresholds of status
            ("rule_version", pa.int32()),
            ("model_version", pa.string()),
        ]
    ),
    # Where all cashiers of a store ask seldom, each of them looks normal.
    "restricted/store_screening": pa.schema(
        [
            ("business_date", pa.date32()),
            ("window_days", pa.int32()),
            ("store_id", pa.string()),
            ("till_type", pa.string()),  # staffed, self
            ("n_days", pa.int32()),
            ("n_cashiers", pa.int32()),  # 0 at self-checkouts
            ("n_restricted", pa.int64()),
            ("n_with_photo", pa.int64()),
            ("n_check_unknown", pa.int64()),
            ("checks_made", pa.int64()),
            ("checks_expected", pa.float64()),  # as at the staffed tills of the chain
            ("checks_ratio", pa.float64()),
            ("checks_ratio_shrunk", pa.float64()),  # null at self-checkouts
            ("ratio_low", pa.float64()),
            ("ratio_high", pa.float64()),
            ("caveat", pa.string()),
            ("rule_version", pa.int32()),
            ("model_version", pa.string()),
        ]
    ),
    "restricted/cashier_cases": pa.schema(
        [
            ("business_date", pa.date32()),  # of the screening for which the case was drawn
            ("case_id", pa.string()),  # random
            ("batch_id", pa.string()),  # random; the cases of one cashier
            ("receipt_id", pa.string()),
            ("store_id", pa.string()),
            ("till_id", pa.string()),
            ("opened_at", pa.timestamp("us", tz="UTC")),
            ("goods", pa.string()),
            ("shown_order", pa.int32()),
            ("role", pa.string()),  # cashier, colleague, attention_check
            ("cashier_id", pa.string()),  # of the cashier in review, in role cashier; otherwise null
            ("reviewer", pa.string()),  # null: not answered
            ("looks_under_25", pa.string()),  # yes, no, unclear
            ("id_seen", pa.string()),  # yes, no, unclear
            ("decided_at", pa.timestamp("us", tz="UTC")),
            ("delete_after", pa.date32()),
        ]
    ),
}
