-- Which ten notable cells differ most from 100, and what are their true indices?
-- Input: table cell_index, the rows of truth/cell_index.
-- Grain: one row per level, band and item, the strongest first. Units: index 100 = as all shoppers; n_* in receipts.
SELECT
    level,
    age_band,
    item_name,
    n_receipts_with_item,
    ROUND(naive_index) AS naive_index,
    affinity_index,
    index_low,
    index_high,
    ROUND(true_index) AS true_index,
    ROUND(stated_index) AS stated_index
FROM cell_index
WHERE is_notable
ORDER BY ABS(LN(affinity_index / 100)) DESC, level, age_band, item
LIMIT 10
