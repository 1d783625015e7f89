-- How well do the predicted category indices agree with those of true ages and with those stated by the truth?
-- Input: table category_index, the rows of truth/category_index.
-- Grain: one row per reference (true_index, stated_index). n_cells: cells with a reference above zero;
-- rank_correlation: Spearman, ties have their mean rank; slope: least squares of log(predicted) on log(reference),
-- below 1 if errors in age move the indices towards 100.
WITH compared AS (
    SELECT
        reference,
        LN(predicted_index) AS log_predicted,
        LN(reference_index) AS log_reference
    FROM category_index
    UNPIVOT (reference_index FOR reference IN (true_index, stated_index))
    WHERE reference_index > 0
),

ranked AS (
    SELECT
        *,
        RANK() OVER (PARTITION BY reference ORDER BY log_predicted)
        + COUNT(*) OVER (PARTITION BY reference, log_predicted) / 2 AS predicted_rank,
        RANK() OVER (PARTITION BY reference ORDER BY log_reference)
        + COUNT(*) OVER (PARTITION BY reference, log_reference) / 2 AS reference_rank
    FROM compared
)

SELECT
    reference,
    COUNT(*) AS n_cells,
    CORR(predicted_rank, reference_rank) AS rank_correlation,
    REGR_SLOPE(log_predicted, log_reference) AS slope
FROM ranked
GROUP BY reference
ORDER BY reference DESC
