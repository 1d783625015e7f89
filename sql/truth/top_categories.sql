-- Which three published categories have the highest index in each age band, and what are their true indices?
-- Input: table cell_index, the rows of truth/cell_index.
-- Grain: one row per band and rank; by the naive index in a window that could not be corrected. Units: index 100 = the
-- average of all shoppers; index_low, index_high: 95 % interval; n_receipts_with_item in receipts.
SELECT
    age_band,
    ROW_NUMBER() OVER favourites AS rank,
    item AS category,
    n_receipts_with_item,
    ROUND(naive_index) AS naive_index,
    affinity_index,
    index_low,
    index_high,
    is_notable,
    ROUND(true_index) AS true_index,
    ROUND(stated_index) AS stated_index
FROM cell_index
WHERE level = 'category'
WINDOW favourites AS (PARTITION BY age_band ORDER BY COALESCE(affinity_index, naive_index) DESC, item)
QUALIFY ROW_NUMBER() OVER favourites <= 3
ORDER BY from_years, rank
