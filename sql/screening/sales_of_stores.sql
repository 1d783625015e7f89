-- Which age-restricted sales of some stores can become review cases?
-- Grain: one row per receipt. `units` has the correction of each cashier's estimated ages; a cashier without a row has
-- none.
-- Units: age_years: estimated age in years, corrected for camera and clientele; hour: 0-23, local time.
-- Parameters: $store_ids, $dates (business dates of the window).
SELECT
    sales.receipt_id,
    sales.store_id,
    sales.till_id,
    sales.cashier_id,
    sales.opened_at,
    sales.hour,
    sales.goods,
    sales.age_years - COALESCE(units.age_shift_years, 0) AS age_years
FROM restricted.age_restricted_sales AS sales
LEFT JOIN units USING (store_id, cashier_id)
WHERE
    sales.business_date IN (SELECT UNNEST($dates))
    AND sales.store_id IN (SELECT UNNEST($store_ids))
ORDER BY sales.receipt_id
