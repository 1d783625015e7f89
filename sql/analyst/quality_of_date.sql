-- Can the figures of a date be trusted? The measures of each job and their usual values.
-- Grain: one row per job, source table (empty: the job as a whole) and measure.
-- Units: rows_* in rows, photos_* in photos, receipts_* in receipts, matched_share a share, mean_age_years in years,
-- n_age_errors in pairs of a true and an estimated age. Of the windows that end with the date: items_tested_* in items,
-- notable_cells_* in cells, overdispersion_* a ratio (1: receipts are independent; repeated visits make it larger). Of
-- each band, in the longest window: share_of_shoppers; reliability, the share of a difference from the other bands that
-- survives the errors of age; kept_in_band, the share of its shoppers who are estimated to be in it; a warning if few
-- are. Of watch_ages: *_share of the photos; *_years in years; psi_* without unit; misfit in standard deviations of its
-- noise; *_limit: what a measure exceeds by chance once in 500 nights; stores_* and cameras_* in stores. usual: median
-- of the measure over the 28 dates before, null if there are none.
-- Parameters: $business_date.
WITH history AS (
    SELECT
        job,
        source_table,
        measure,
        MEDIAN(value) AS usual
    FROM analytics.run_quality
    WHERE
        business_date BETWEEN CAST($business_date AS DATE) - 28 AND CAST($business_date AS DATE) - 1
    GROUP BY job, source_table, measure
)

SELECT
    today.job,
    today.source_table,
    today.measure,
    today.value,
    history.usual,
    today.text
FROM analytics.run_quality AS today
LEFT JOIN history USING (job, source_table, measure)
WHERE today.business_date = $business_date
ORDER BY today.job, today.source_table, today.measure
