-- Did every job write the date? Quarantine, age errors, offers and the tables about cashiers can be
-- empty, so they are not checked.
-- Grain: one row per table without a row of the date. Parameters: $business_date.
WITH counted AS (
    SELECT
        'restricted.photo_ages' AS table_name,
        COUNT(*) AS n_rows
    FROM restricted.photo_ages
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'restricted.receipt_ages' AS table_name,
        COUNT(*) AS n_rows
    FROM restricted.receipt_ages
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'restricted.daily_counts' AS table_name,
        COUNT(*) AS n_rows
    FROM restricted.daily_counts
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'restricted.daily_store_counts' AS table_name,
        COUNT(*) AS n_rows
    FROM restricted.daily_store_counts
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'restricted.catalogue' AS table_name,
        COUNT(*) AS n_rows
    FROM restricted.catalogue
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'analytics.age_bands' AS table_name,
        COUNT(*) AS n_rows
    FROM analytics.age_bands
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'analytics.age_product_affinity' AS table_name,
        COUNT(*) AS n_rows
    FROM analytics.age_product_affinity
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'analytics.age_category_affinity' AS table_name,
        COUNT(*) AS n_rows
    FROM analytics.age_category_affinity
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'analytics.run_quality' AS table_name,
        COUNT(*) AS n_rows
    FROM analytics.run_quality
    WHERE business_date = $business_date
)

SELECT
    table_name,
    n_rows
FROM counted
WHERE n_rows = 0
ORDER BY table_name
