-- Is any figure published that rests on fewer than ten receipts, or from which such a figure can be derived?
-- Grain: one row per offending cell. Units: receipts.
-- offence: `too_few` a published cell below ten receipts; `not_blanked` a suppressed cell that still carries
-- a measure; `unknown_reason`; `derivable` the suppressed bands of an item whose other bands are published, if
-- there is only one of them or fewer than ten receipts in all of them: penetration_all times all receipts gives
-- the total, and subtraction the rest.
-- Parameters: $business_date.
WITH cells AS (
    SELECT
        'product' AS level,
        product_id AS item,
        COLUMNS(* EXCLUDE (product_id, product_name, category, department))
    FROM analytics.age_product_affinity
    WHERE business_date = $business_date
    UNION ALL BY NAME
    SELECT *
    FROM analytics.age_category_affinity
    WHERE business_date = $business_date
),

bands AS (
    SELECT
        window_days,
        age_band,
        MAX(n_receipts) AS n_receipts
    FROM cells
    GROUP BY window_days, age_band
),

-- All receipts of a window: of every band if each has a published cell, else as leverage gives it away.
windows AS (
    SELECT
        window_days,
        COALESCE(of_bands.n_receipts_all, of_leverage.n_receipts_all) AS n_receipts_all
    FROM (
        SELECT
            window_days,
            CASE WHEN COUNT(n_receipts) = COUNT(*) THEN SUM(n_receipts) END AS n_receipts_all
        FROM bands
        GROUP BY window_days
    ) AS of_bands
    LEFT JOIN (
        SELECT
            window_days,
            ROUND(MEDIAN((n_receipts_with_item - n_receipts * penetration_all) / leverage)) AS n_receipts_all
        FROM cells
        WHERE ABS(leverage) > 1e-6
        GROUP BY window_days
    ) AS of_leverage USING (window_days)
),

judged AS (
    SELECT
        window_days,
        age_band,
        level,
        item,
        n_receipts_with_item,
        suppressed_reason,
        CASE
            WHEN suppressed_reason IS NULL AND (n_receipts_with_item >= 10) IS NOT TRUE THEN 'too_few'
            -- n_receipts and n_days say nothing about the item: they may stay.
            WHEN
                suppressed_reason IS NOT NULL
                AND COALESCE(
                    n_receipts_with_item,
                    quantity,
                    amount,
                    penetration,
                    penetration_all,
                    affinity_index,
                    lift,
                    leverage,
                    spend_share
                ) IS NOT NULL THEN 'not_blanked'
            -- A chain may choose to hide cells of more than ten receipts.
            WHEN NOT REGEXP_MATCHES(suppressed_reason, '^(complementary|fewer_than_[1-9][0-9]+_receipts)$')
                THEN 'unknown_reason'
            WHEN
                suppressed_reason IS NOT NULL
                AND COUNT(*) OVER item_bands > COUNT(suppressed_reason) OVER item_bands
                AND (
                    COUNT(suppressed_reason) OVER item_bands = 1
                    OR ROUND(MAX(penetration_all) OVER item_bands * n_receipts_all)
                    - SUM(n_receipts_with_item) OVER item_bands < 10
                ) THEN 'derivable'
        END AS offence
    FROM cells
    INNER JOIN windows USING (window_days)
    WINDOW item_bands AS (PARTITION BY window_days, level, item)
)

SELECT *
FROM judged
WHERE offence IS NOT NULL
ORDER BY window_days, level, item, age_band
