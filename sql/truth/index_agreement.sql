-- How well do the naive and the corrected indices agree with those of true ages, and with those stated by the truth?
-- Input: table cell_index, the rows of truth/cell_index.
-- Grain: one row per level, reference (true_index, stated_index) and method (naive_index, affinity_index). n_cells: cells
-- with a method and a reference above zero. Of the logarithms, weighted by the receipts of the cell: rmse; slope: least
-- squares of the method on the reference, below 1 if it is moved towards 100. rank_correlation: Spearman, ties have their
-- mean rank. coverage: share of the 95 % intervals that contain the reference. coverage_with_chance: the same for intervals
-- widened by the chance in a reference that is counted from few receipts (Katz et al. 1978); null for stated_index. Both
-- are null for naive_index.
WITH compared AS (
    SELECT
        level,
        reference,
        method,
        n_receipts_with_item AS weight,
        LN(method_index) AS log_method,
        LN(reference_index) AS log_reference,
        CASE
            -- Ends are published in whole points.
            WHEN method = 'affinity_index'
                THEN reference_index BETWEEN index_low - 0.5 AND index_high + 0.5
        END AS is_covered,
        CASE
            WHEN method = 'affinity_index' AND reference = 'true_index'
                THEN
                    ABS(LN(reference_index) - LN(method_index))
                    <= SQRT(
                        POW(LN((index_high + 0.5) / (index_low - 0.5)) / 2, 2)
                        + POW(1.96, 2) / true_n_receipts_with_item
                    )
        END AS is_covered_with_chance
    FROM (
        SELECT
            level,
            n_receipts_with_item,
            true_n_receipts_with_item,
            index_low,
            index_high,
            true_index,
            stated_index,
            method,
            method_index
        FROM (SELECT * REPLACE (CAST(affinity_index AS DOUBLE) AS affinity_index) FROM cell_index)
        UNPIVOT (method_index FOR method IN (naive_index, affinity_index))
    )
    UNPIVOT (reference_index FOR reference IN (true_index, stated_index))
    WHERE
        reference_index > 0
        AND method_index > 0
),

ranked AS (
    SELECT
        *,
        RANK() OVER (PARTITION BY level, reference, method ORDER BY log_method)
        + COUNT(*) OVER (PARTITION BY level, reference, method, log_method) / 2 AS method_rank,
        RANK() OVER (PARTITION BY level, reference, method ORDER BY log_reference)
        + COUNT(*) OVER (PARTITION BY level, reference, method, log_reference) / 2 AS reference_rank,
        SUM(weight * log_reference) OVER of_method / SUM(weight) OVER of_method AS mean_reference,
        SUM(weight * log_method) OVER of_method / SUM(weight) OVER of_method AS mean_method
    FROM compared
    WINDOW of_method AS (PARTITION BY level, reference, method)
)

SELECT
    level,
    reference,
    method,
    COUNT(*) AS n_cells,
    SQRT(SUM(weight * (log_method - log_reference) ** 2) / SUM(weight)) AS rmse,
    SUM(weight * (log_method - mean_method) * (log_reference - mean_reference))
    / NULLIF(SUM(weight * (log_reference - mean_reference) ** 2), 0) AS slope,
    CORR(method_rank, reference_rank) AS rank_correlation,
    AVG(CAST(is_covered AS INTEGER)) AS coverage,
    AVG(CAST(is_covered_with_chance AS INTEGER)) AS coverage_with_chance
FROM ranked
GROUP BY level, reference, method
ORDER BY level, reference DESC, method DESC
