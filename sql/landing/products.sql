-- Which products of the landing zone can be used, and why not the others?
-- Grain: one row per different row of landing.products, so a row delivered twice is here once. reason, detail and key
-- (the key in quarantine) are null for a row that can be used; the first reason that applies counts.
-- legal_age: min_age, and 18 for alcohol without one, which could otherwise be offered to the young.
-- product: a number.
WITH versions AS (
    SELECT
        *,
        COUNT(*) OVER (PARTITION BY product_id) AS n_versions,
        CONCAT_WS(
            ', ',
            CASE WHEN COALESCE(product_id, '') = '' THEN 'product_id' END,
            CASE WHEN COALESCE(product_name, '') = '' THEN 'product_name' END,
            CASE WHEN COALESCE(category, '') = '' THEN 'category' END,
            CASE WHEN COALESCE(department, '') = '' THEN 'department' END,
            CASE WHEN is_alcohol IS NULL THEN 'is_alcohol' END
        ) AS missing
    FROM (
        SELECT DISTINCT *
        FROM landing.products
    )
),

judged AS (
    SELECT
        *,
        CASE
            WHEN missing <> '' THEN 'missing_value'
            WHEN NOT min_age BETWEEN 0 AND 120 THEN 'impossible_min_age'
            WHEN n_versions > 1 THEN 'conflicting_key'
        END AS reason
    FROM versions
)

SELECT
    * EXCLUDE (n_versions, missing),
    COALESCE(min_age, CASE WHEN is_alcohol THEN 18 END) AS legal_age,
    CAST(ROW_NUMBER() OVER () AS INTEGER) AS product,
    CASE reason
        WHEN 'missing_value' THEN missing
        WHEN 'impossible_min_age' THEN min_age::VARCHAR
        WHEN 'conflicting_key' THEN n_versions || ' versions'
    END AS detail,
    CASE WHEN reason IS NOT NULL THEN COALESCE(product_id, '?') END AS key
FROM judged
