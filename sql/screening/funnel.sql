-- Which checks did each cashier make, how many were expected, and where are the limits?
-- Grain: one row per cashier with expected checks, in a window that ends with the business date; ordered by store and
-- cashier. If the business date is null, the newest screened date is taken.
-- Units: checks_made, checks_expected and the limits in checks.
-- Parameters: $business_date, $window_days.
SELECT
    business_date,
    store_id,
    cashier_id,
    status,
    checks_made,
    checks_expected,
    limit_low_95,
    limit_low_998,
    limit_high_95,
    limit_high_998,
    caveat
FROM restricted.cashier_screening
WHERE
    business_date = COALESCE($business_date, (SELECT MAX(business_date) FROM restricted.cashier_screening))
    AND window_days = $window_days
    AND checks_expected > 0
ORDER BY store_id, cashier_id
