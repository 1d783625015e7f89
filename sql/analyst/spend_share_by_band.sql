-- What does each age band spend its money on?
-- Grain: one row per band and department, the largest share first. Hidden departments come last, with their reason and
-- no figures, so the shares of a band can add up to less than 1.
-- Units: spend_share: share of the band's spending; amount in the currency of the store, as coarse as the counts; n_* in receipts,
-- rounded. Bands are those of the estimated ages: these figures are not corrected.
-- Parameters: $window_days, $business_date.
SELECT
    age_band,
    item AS department,
    ROUND(spend_share, 4) AS spend_share,
    amount,
    n_receipts_with_item,
    reason
FROM analytics.age_category_affinity
LEFT JOIN analytics.age_bands USING (business_date, age_band)
WHERE
    business_date = $business_date
    AND window_days = CAST($window_days AS INTEGER)
    AND level = 'department'
ORDER BY from_years, n_receipts_with_item IS NULL, spend_share DESC NULLS LAST, item
