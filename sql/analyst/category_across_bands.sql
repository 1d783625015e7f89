-- How much does each age band buy of a category or department?
-- Grain: one row per band. A hidden band has its reason and no figures: its count is small, not zero.
-- Units: n_* in receipts, rounded; penetration: share of the band's receipts with the item; penetration_all: of
-- all receipts; indices: 100 = the average of all shoppers; naive_index: from estimated ages as they are;
-- affinity_index: corrected for their errors; index_low, index_high: its 95 % interval, or that of naive_index; amount
-- in the currency of the store, as coarse as the counts.
-- Parameters: $level (category or department), $item (its name), $window_days, $business_date.
SELECT
    age_band,
    n_receipts,
    n_receipts_with_item,
    ROUND(penetration, 4) AS penetration,
    ROUND(penetration_all, 4) AS penetration_all,
    ROUND(naive_index) AS naive_index,
    affinity_index,
    index_low,
    index_high,
    is_notable,
    amount,
    reason
FROM analytics.age_category_affinity
LEFT JOIN analytics.age_bands USING (business_date, age_band)
WHERE
    business_date = $business_date
    AND window_days = CAST($window_days AS INTEGER)
    AND level = $level
    AND item = $item
ORDER BY from_years
