-- Do the counts of cashiers agree among themselves, with the list of restricted sales, and with the screening?
-- Grain: one row per defect and store; n_rows: rows of the counts at fault (at `more_photos_than_receipts_with_an_age`,
-- receipts too many, without a store). The other defects: `checks`: more checks than receipts, or checks of
-- unrestricted goods; `ages`: a year outside 14 to 60, or a year and photos that disagree; `sums`: unrestricted receipts
-- under 27, under 60 and with a photo do not increase, or sums of ages or probabilities are out of their limits;
-- `sales`: not as many listed sales as receipts with a photo; `screening`: a window has fewer restricted receipts than
-- its last date. Units: receipts.
-- Parameters: $business_date.
WITH counts AS (
    SELECT
        *,
        goods <> 'unrestricted' AS is_restricted
    FROM restricted.cashier_daily_counts
    WHERE business_date = $business_date
),

sales AS (
    SELECT
        store_id,
        cashier_id,
        hour,
        goods,
        LEAST(60, GREATEST(14, FLOOR(age_years + 0.5))) AS age_year,
        COUNT(*) AS n_sales
    FROM restricted.age_restricted_sales
    WHERE business_date = $business_date
    GROUP BY ALL
),

screened AS (
    SELECT
        store_id,
        cashier_id,
        MIN(n_restricted) AS n_restricted
    FROM restricted.cashier_screening
    WHERE business_date = $business_date
    GROUP BY store_id, cashier_id
),

matched AS (
    SELECT COUNT(*) AS n_matched
    FROM restricted.receipt_ages
    WHERE business_date = $business_date
),

by_cashier AS (
    SELECT
        store_id,
        cashier_id,
        SUM(n_receipts) FILTER (WHERE is_restricted) AS n_restricted
    FROM counts
    GROUP BY store_id, cashier_id
),

defects AS (
    SELECT
        'checks' AS defect,
        store_id,
        1 AS n_rows
    FROM counts
    WHERE
        n_checked + n_check_unknown > CASE WHEN is_restricted THEN n_receipts ELSE 0 END
        OR LEAST(n_checked, n_check_unknown) < 0
    UNION ALL
    SELECT
        'ages' AS defect,
        store_id,
        1 AS n_rows
    FROM counts
    WHERE
        n_with_photo NOT BETWEEN 0 AND n_receipts
        OR (is_restricted AND n_with_photo <> CASE WHEN age_year IS NULL THEN 0 ELSE n_receipts END)
        OR (age_year IS NOT NULL AND NOT (is_restricted AND age_year BETWEEN 14 AND 60))
    UNION ALL
    SELECT
        'sums' AS defect,
        store_id,
        1 AS n_rows
    FROM counts
    WHERE
        NOT (0 <= n_under_27 AND n_under_27 <= n_under_60)
        OR n_under_60 > CASE WHEN is_restricted THEN 0 ELSE n_with_photo END
        OR p_under_18_sum NOT BETWEEN 0 AND CASE WHEN is_restricted THEN n_with_photo ELSE 0 END
        OR age_capped_sum NOT BETWEEN 0 AND CASE WHEN is_restricted THEN 0 ELSE 60 * n_with_photo END
        OR age_capped_square_sum NOT BETWEEN 0 AND CASE WHEN is_restricted THEN 0 ELSE 3600 * n_with_photo END
    UNION ALL
    SELECT
        'sales' AS defect,
        store_id,
        1 AS n_rows
    FROM (
        SELECT *
        FROM counts
        WHERE
            cashier_id IS NOT NULL
            AND age_year IS NOT NULL
    )
    FULL OUTER JOIN sales USING (store_id, cashier_id, hour, goods, age_year)
    WHERE COALESCE(n_with_photo, 0) <> COALESCE(n_sales, 0)
    UNION ALL
    SELECT
        'screening' AS defect,
        store_id,
        1 AS n_rows
    FROM by_cashier
    INNER JOIN screened USING (store_id, cashier_id)
    WHERE by_cashier.n_restricted > screened.n_restricted
    UNION ALL
    SELECT
        'more_photos_than_receipts_with_an_age' AS defect,
        NULL AS store_id,
        SUM(n_with_photo) - ANY_VALUE(n_matched) AS n_rows
    FROM counts
    CROSS JOIN matched
    HAVING SUM(n_with_photo) > ANY_VALUE(n_matched)
)

SELECT
    defect,
    store_id,
    SUM(n_rows) AS n_rows
FROM defects
GROUP BY defect, store_id
ORDER BY defect, store_id
