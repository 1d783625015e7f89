-- How much does each age band buy of a category or department?
-- Grain: one row per band. A suppressed band has its reason and no figures: its count is small, not zero.
-- Units: n_* in receipts; penetration: share of the band's receipts with the item; penetration_all: of all receipts;
-- affinity_index: 100 = the average of all shoppers; amount in the currency of the store.
-- Parameters: $level (category or department), $item (its name), $window_days, $business_date.
SELECT
    age_band,
    n_receipts,
    n_receipts_with_item,
    ROUND(penetration, 4) AS penetration,
    ROUND(penetration_all, 4) AS penetration_all,
    ROUND(affinity_index) AS affinity_index,
    ROUND(amount, 2) AS amount,
    suppressed_reason
FROM analytics.age_category_affinity
LEFT JOIN analytics.age_bands USING (business_date, age_band)
WHERE
    business_date = $business_date
    AND window_days = CAST($window_days AS INTEGER)
    AND level = $level
    AND item = $item
ORDER BY from_years
