-- Do the counts by age and the counts by store describe the same receipts of the date?
-- Grain: one row per level and item whose number of receipts, or sum of their ages, differs between the two tables; at
-- level 'all' both must also agree with the receipts of restricted.receipt_ages. Null: no row.
-- Units: receipts; age_years_sum: completed years of age, summed over receipts.
-- Parameters: $business_date.
WITH by_age AS (
    SELECT
        level,
        item,
        SUM(n_receipts) AS n_by_age,
        SUM(n_receipts * age_year) AS age_years_sum_by_age
    FROM restricted.daily_counts
    WHERE business_date = $business_date
    GROUP BY level, item
),

by_store AS (
    SELECT
        level,
        item,
        SUM(n_receipts) AS n_by_store,
        SUM(age_years_sum) AS age_years_sum_by_store,
        -- At level 'all' a row has one age.
        COALESCE(BOOL_AND(age_years_sum = n_receipts * age_year) FILTER (WHERE level = 'all'), TRUE) AS ages_agree
    FROM restricted.daily_store_counts
    WHERE business_date = $business_date
    GROUP BY level, item
),

matched AS (
    SELECT
        'all' AS level,
        '' AS item,
        COUNT(*) AS n_matched,
        SUM(LEAST(100, FLOOR(age_years + 0.5))) AS age_years_sum_matched
    FROM restricted.receipt_ages
    WHERE business_date = $business_date
    HAVING COUNT(*) > 0
)

SELECT
    level,
    item,
    by_age.n_by_age,
    by_store.n_by_store,
    matched.n_matched,
    by_age.age_years_sum_by_age,
    by_store.age_years_sum_by_store,
    matched.age_years_sum_matched
FROM by_age
FULL OUTER JOIN by_store USING (level, item)
FULL OUTER JOIN matched USING (level, item)
WHERE
    -- An item that was only returned has no receipt, and so no row by store.
    COALESCE(by_age.n_by_age, 0) <> COALESCE(by_store.n_by_store, 0)
    OR COALESCE(by_age.age_years_sum_by_age, 0) <> COALESCE(by_store.age_years_sum_by_store, 0)
    OR NOT by_store.ages_agree
    OR (
        level = 'all'
        AND (
            COALESCE(by_age.n_by_age, 0) <> COALESCE(matched.n_matched, 0)
            OR COALESCE(by_age.age_years_sum_by_age, 0) <> COALESCE(matched.age_years_sum_matched, 0)
        )
    )
ORDER BY level, item
