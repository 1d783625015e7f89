-- How many photos of the date could not be used?
-- Grain: one row. Units: photos; n_unmatched: readable ones without a receipt, null if match_receipts has no report.
-- Parameters: $business_date.
SELECT
    COUNT(*) AS n_photos,
    COUNT(*) - COUNT(age_years) AS n_unreadable,
    (
        SELECT MAX(value)
        FROM analytics.run_quality
        WHERE
            business_date = $business_date
            AND job = 'match_receipts'
            AND measure = 'photos_unmatched'
    ) AS n_unmatched
FROM restricted.photo_ages
WHERE business_date = $business_date
