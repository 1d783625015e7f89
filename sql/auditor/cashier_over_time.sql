-- How did the checks of one cashier develop?
-- Grain: one row per window length and business date, oldest first. Dates within limits are deleted after 35 days, so a
-- gap is no sign. Windows of 28 days overlap: neighbouring rows contain mostly the same sales.
-- Units: checks_* in checks of a document; checks_ratio: made / expected; checks_ratio_shrunk: the same, moved towards
-- the colleagues as far as chance requires, with its 95 % interval ratio_low to ratio_high; control_shift_years: how much
-- older or younger the buyers of unrestricted goods look than those of colleagues.
-- Parameters: $store_id, $cashier_id (an id can occur in several stores).
SELECT
    window_days,
    business_date,
    n_days,
    status,
    ARRAY_TO_STRING(reasons, ', ') AS reasons,
    n_restricted,
    n_with_photo,
    n_check_unknown,
    checks_made,
    ROUND(checks_expected, 1) AS checks_expected,
    ROUND(checks_ratio, 2) AS checks_ratio,
    ROUND(checks_ratio_shrunk, 2) AS checks_ratio_shrunk,
    ROUND(ratio_low, 2) AS ratio_low,
    ROUND(ratio_high, 2) AS ratio_high,
    ROUND(q_value, 3) AS q_value,
    ROUND(control_shift_years, 1) AS control_shift_years,
    control_flag,
    rule_version,
    model_version,
    caveat
FROM restricted.cashier_screening
WHERE
    store_id = $store_id
    AND cashier_id = $cashier_id
ORDER BY window_days, business_date
