-- Which products does an age band buy more than other shoppers do?
-- Grain: one row per product with an index above 100, at most 50: first the notable ones (q_value at most 0.05, and an
-- interval above 100), each group sorted by affinity_index. An index that is not notable can be chance. Hidden products
-- (fewer than ten receipts in the band) are left out.
-- Units: n_receipts_with_item in receipts, rounded; penetration: share of the band's receipts with the product;
-- indices: 100 = the average of all shoppers. naive_index takes the estimated ages as they are; affinity_index is
-- corrected for their errors, and null if that was not possible (reason says why); index_low, index_high: its 95 %
-- interval, or that of naive_index.
-- Parameters: $band (such as 18-29), $window_days, $business_date.
SELECT
    product_id,
    product_name,
    category,
    n_receipts_with_item,
    ROUND(penetration, 4) AS penetration,
    ROUND(naive_index) AS naive_index,
    affinity_index,
    index_low,
    index_high,
    is_notable,
    reason
FROM analytics.age_product_affinity
WHERE
    business_date = $business_date
    AND window_days = CAST($window_days AS INTEGER)
    AND age_band = $band
    AND COALESCE(affinity_index, naive_index) > 100
-- Naive indices are sorted by index_low, otherwise those on few receipts come first.
ORDER BY is_notable DESC, affinity_index DESC NULLS LAST, index_low DESC, product_id
LIMIT 50
