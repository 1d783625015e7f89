-- In which stores are documents checked seldom as a whole, at staffed tills and at self-checkouts?
-- Grain: one row per store and till type, ordered by store. Where all cashiers of a store ask seldom, each of them looks
-- normal among colleagues, so look here too.
-- Units: checks_* in checks of a document; checks_expected: as at the staffed tills of the chain; checks_ratio: made /
-- expected; checks_ratio_shrunk: the same, moved towards the chain as far as chance requires, with its 95 % interval
-- ratio_low to ratio_high; null at self-checkouts. n_check_unknown: sales without a record whether there was a check.
-- Parameters: $business_date, $window_days.
SELECT
    store_id,
    till_type,
    n_days,
    n_cashiers,
    n_restricted,
    n_with_photo,
    n_check_unknown,
    checks_made,
    ROUND(checks_expected, 1) AS checks_expected,
    ROUND(checks_ratio, 2) AS checks_ratio,
    ROUND(checks_ratio_shrunk, 2) AS checks_ratio_shrunk,
    ROUND(ratio_low, 2) AS ratio_low,
    ROUND(ratio_high, 2) AS ratio_high,
    caveat
FROM restricted.store_screening
WHERE
    business_date = $business_date
    AND window_days = CAST($window_days AS INTEGER)
ORDER BY store_id, till_type DESC
