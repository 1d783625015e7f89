-- Does each table of the date have one row per key, and no row without a key?
-- Grain: one row per table and key that is missing or occurs more than once. Units: rows.
-- Parameters: $business_date.
WITH keys AS (
    SELECT
        'restricted.photo_ages' AS table_name,
        photo_id AS key
    FROM restricted.photo_ages
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'restricted.receipt_ages' AS table_name,
        receipt_id AS key
    FROM restricted.receipt_ages
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'restricted.daily_counts' AS table_name,
        age_year || '/' || level || '/' || item AS key
    FROM restricted.daily_counts
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'restricted.daily_store_counts' AS table_name,
        store_id || '/' || level || '/' || item || CASE WHEN level = 'all' THEN '/' || age_year ELSE '' END AS key
    FROM restricted.daily_store_counts
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'restricted.catalogue' AS table_name,
        product_id AS key
    FROM restricted.catalogue
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'restricted.cashier_daily_counts' AS table_name,
        -- Self-checkouts have no cashier; receipts without a photo have no age.
        store_id || '/' || hour || '/' || goods || '/' || COALESCE(CAST(age_year AS VARCHAR), '')
        || COALESCE('/' || cashier_id, '') AS key
    FROM restricted.cashier_daily_counts
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'restricted.age_restricted_sales' AS table_name,
        receipt_id AS key
    FROM restricted.age_restricted_sales
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'restricted.cashier_screening' AS table_name,
        window_days || '/' || store_id || '/' || cashier_id AS key
    FROM restricted.cashier_screening
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'restricted.store_screening' AS table_name,
        window_days || '/' || store_id || '/' || till_type AS key
    FROM restricted.store_screening
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'restricted.cashier_cases' AS table_name,
        case_id AS key
    FROM restricted.cashier_cases
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'analytics.age_bands' AS table_name,
        age_band AS key
    FROM analytics.age_bands
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'analytics.age_product_affinity' AS table_name,
        window_days || '/' || age_band || '/' || product_id AS key
    FROM analytics.age_product_affinity
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'analytics.age_category_affinity' AS table_name,
        window_days || '/' || age_band || '/' || level || '/' || item AS key
    FROM analytics.age_category_affinity
    WHERE business_date = $business_date
    UNION ALL
    SELECT
        'analytics.age_offers' AS table_name,
        window_days || '/' || age_band || '/' || rank AS key
    FROM analytics.age_offers
    WHERE business_date = $business_date
)

SELECT
    table_name,
    key,
    COUNT(*) AS n_rows
FROM keys
GROUP BY table_name, key
HAVING
    COUNT(*) > 1
    OR key IS NULL
ORDER BY table_name, key
