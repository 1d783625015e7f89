-- Was every row of every source table used, put in quarantine or declared a duplicate?
-- Grain: one row per source table whose counts are missing or do not add up. Units: rows.
-- Parameters: $business_date.
WITH expected AS (
    SELECT *
    FROM (
        VALUES
            ('score_photos', 'photo_events'),
            ('match_receipts', 'receipts'),
            ('count_purchases', 'receipt_lines'),
            ('count_purchases', 'products')
    ) AS source (job, source_table)
),

reported AS (
    SELECT
        job,
        source_table,
        SUM(value) FILTER (WHERE measure = 'rows_in') AS rows_in,
        SUM(value) FILTER (WHERE measure = 'rows_used') AS rows_used,
        SUM(value) FILTER (WHERE measure = 'rows_quarantined') AS rows_quarantined,
        SUM(value) FILTER (WHERE measure = 'rows_duplicate') AS rows_duplicate
    FROM analytics.run_quality
    WHERE
        business_date = $business_date
        AND source_table <> ''
    GROUP BY job, source_table
),

quarantined AS (
    SELECT
        source_table,
        COUNT(*) AS rows_found_in_quarantine
    FROM restricted.quarantine
    WHERE business_date = $business_date
    GROUP BY source_table
)

SELECT
    job,
    source_table,
    reported.rows_in,
    reported.rows_used,
    reported.rows_quarantined,
    reported.rows_duplicate,
    COALESCE(quarantined.rows_found_in_quarantine, 0) AS rows_found_in_quarantine
FROM expected
FULL OUTER JOIN reported USING (job, source_table)
FULL OUTER JOIN quarantined USING (source_table)
WHERE
    -- IS NOT TRUE reports a missing measure too, which makes the comparison null.
    (
        reported.rows_in = reported.rows_used + reported.rows_quarantined + reported.rows_duplicate
        AND reported.rows_quarantined = COALESCE(quarantined.rows_found_in_quarantine, 0)
    ) IS NOT TRUE
ORDER BY job, source_table
