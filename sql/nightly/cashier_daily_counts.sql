-- How many receipts of each cashier contain age-restricted goods on one date, and on how many was a check recorded?
-- Grain: one row per store, cashier, hour, goods and age_year; cashier_id is null for self-checkouts. Receipts of a
-- staffed till without a cashier are in no row.
-- Units: receipts; ages in years, age_year from 14 to 60. The sums and numbers of ages, and p_under_18_sum, cover the
-- receipts with a photo.
-- Inputs: `receipt_goods`, the answer of nightly/receipt_goods.
SELECT
    store_id,
    cashier_id,
    hour,
    goods,
    age_year,
    COUNT(*) AS n_receipts,
    COUNT(age_years) AS n_with_photo,
    COUNT(*) FILTER (WHERE goods <> 'unrestricted' AND id_checked) AS n_checked,
    COUNT(*) FILTER (WHERE goods <> 'unrestricted' AND id_checked IS NULL) AS n_check_unknown,
    -- Integers: a sum of doubles depends on the order of the rows, so a re-run would differ.
    COALESCE(SUM(CASE WHEN goods <> 'unrestricted' THEN CAST(ROUND(p_under_18 * 1000000) AS BIGINT) END), 0) / 1000000
        AS p_under_18_sum,
    COALESCE(SUM(CAST(ROUND(age_capped * 10000) AS BIGINT)), 0) / 10000 AS age_capped_sum,
    COALESCE(SUM(CAST(ROUND(age_capped * age_capped * 10000) AS BIGINT)), 0) / 10000 AS age_capped_square_sum,
    COUNT(*) FILTER (WHERE age_capped < 27) AS n_under_27,
    COUNT(*) FILTER (WHERE age_capped < 60) AS n_under_60
FROM receipt_goods
WHERE
    NOT is_staffed
    OR cashier_id IS NOT NULL
GROUP BY store_id, cashier_id, hour, goods, age_year
