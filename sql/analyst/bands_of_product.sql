-- Which age bands buy a product?
-- Grain: one row per band. A hidden band has its reason and no figures: its count is small, not zero.
-- Units: n_* in receipts, rounded; penetration: share of the band's receipts with the product; indices: 100 =
-- the average of all shoppers; naive_index: from estimated ages as they are; affinity_index: corrected for their
-- errors; index_low, index_high: its 95 % interval, or that of naive_index; spend_share: share of the band's spending.
-- Parameters: $product_id, $window_days, $business_date.
SELECT
    age_band,
    product_name,
    n_receipts,
    n_receipts_with_item,
    ROUND(penetration, 4) AS penetration,
    ROUND(naive_index) AS naive_index,
    affinity_index,
    index_low,
    index_high,
    is_notable,
    ROUND(spend_share, 5) AS spend_share,
    reason
FROM analytics.age_product_affinity
LEFT JOIN analytics.age_bands USING (business_date, age_band)
WHERE
    business_date = $business_date
    AND window_days = CAST($window_days AS INTEGER)
    AND product_id = $product_id
ORDER BY from_years
