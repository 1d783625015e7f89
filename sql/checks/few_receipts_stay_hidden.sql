-- Is any figure published for fewer than ten receipts, or more exactly than the rounding allows?
-- The check windows_sum_their_days compares the published counts with the true ones.
-- Grain: one row per offending cell. Units: receipts.
-- offence: `not_blanked`: a hidden cell that still has a figure; `several_reasons`: hidden cells with different limits;
-- `unknown_reason`; `too_few`: a cell that is not hidden, with fewer than ten receipts or an unknown number;
-- `not_rounded`: a count that is not a multiple of ten, or an amount or quantity that is not a whole number.
-- Parameters: $business_date.
WITH cells AS (
    SELECT
        *,
        -- A chain can set a limit above ten.
        COALESCE(REGEXP_MATCHES(reason, '^fewer_than_[1-9][0-9]+_receipts$'), FALSE) AS is_hidden
    FROM analytics.age_affinity
    WHERE business_date = $business_date
),

offences AS (
    SELECT
        window_days,
        age_band,
        level,
        item,
        n_receipts,
        n_receipts_with_item,
        reason,
        CASE
            WHEN
                is_hidden
                -- CONCAT skips nulls.
                AND CONCAT(
                    n_receipts,
                    n_receipts_with_item,
                    quantity,
                    amount,
                    penetration,
                    penetration_all,
                    naive_index,
                    lift,
                    leverage,
                    spend_share,
                    affinity_index,
                    index_low,
                    index_high,
                    q_value,
                    is_notable
                ) <> ''
                THEN 'not_blanked'
            WHEN is_hidden AND reason <> MIN(reason) FILTER (WHERE is_hidden) OVER () THEN 'several_reasons'
            WHEN is_hidden THEN NULL
            WHEN reason NOT IN ('too_few_receipts_to_correct', 'no_age_errors', 'category_without_receipts') THEN 'unknown_reason'
            WHEN (n_receipts_with_item >= 10 AND n_receipts >= 10) IS NOT TRUE THEN 'too_few'
            WHEN
                (
                    n_receipts % 10 = 0
                    AND n_receipts_with_item % 10 = 0
                    AND amount = ROUND(amount)
                    AND quantity = ROUND(quantity)
                ) IS NOT TRUE
                THEN 'not_rounded'
        END AS offence
    FROM cells
)

SELECT *
FROM offences
WHERE offence IS NOT NULL
ORDER BY window_days, level, item, age_band
