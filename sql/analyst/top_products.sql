-- Which products does an age band buy more than other shoppers do?
-- Grain: one row per product, at most 50, sorted by index_low, so that a high index on few receipts does not come
-- first. Suppressed products (fewer than ten receipts in the band) are left out.
-- Units: n_* in receipts; penetration: share of the band's receipts with the product; affinity_index: 100 = the
-- average of all shoppers; index_low: lower end of its 95 % interval (log scale, Katz et al. 1978). Ages are estimates:
-- true indices are farther from 100.
-- Parameters: $band (such as 18-29), $window_days, $business_date.
SELECT
    product_id,
    product_name,
    category,
    n_receipts_with_item,
    ROUND(penetration, 4) AS penetration,
    ROUND(affinity_index) AS affinity_index,
    ROUND(
        affinity_index * EXP(-1.96 * SQRT(1 / n_receipts_with_item - 1 / n_receipts))
    ) AS index_low
FROM analytics.age_product_affinity
WHERE
    business_date = $business_date
    AND window_days = CAST($window_days AS INTEGER)
    AND age_band = $band
    AND suppressed_reason IS NULL
ORDER BY index_low DESC, product_id
LIMIT 50
