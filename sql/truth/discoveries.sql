-- How many cells are called notable, and how many of them truly differ in that direction?
-- Input: table cell_index, the rows of truth/cell_index.
-- Grain: one row per level. Units: cells. n_right: notable, and the true index is on the same side of 100; right_stated:
-- the same for the index that the truth states, null if it states none.
SELECT
    level,
    COUNT(*) AS n_cells,
    COUNT(*) FILTER (WHERE is_notable) AS n_notable,
    COUNT(*) FILTER (WHERE is_notable AND SIGN(affinity_index - 100) = SIGN(true_index - 100)) AS n_right,
    CASE
        WHEN COUNT(stated_index) > 0
            THEN COUNT(*) FILTER (WHERE is_notable AND SIGN(affinity_index - 100) = SIGN(stated_index - 100))
    END AS right_stated
FROM cell_index
GROUP BY level
ORDER BY level
