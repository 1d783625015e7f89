-- Which three published categories have the highest index in each age band, and what are their true indices?
-- Input: table category_index, the rows of truth/category_index.
-- Grain: one row per band and rank. Units: index 100 = the average of all shoppers; n_receipts_with_item in receipts.
SELECT
    age_band,
    ROW_NUMBER() OVER favourites AS rank,
    category,
    n_receipts_with_item,
    ROUND(predicted_index) AS predicted_index,
    ROUND(true_index) AS true_index,
    ROUND(stated_index) AS stated_index
FROM category_index
WINDOW favourites AS (PARTITION BY age_band ORDER BY predicted_index DESC, category)
QUALIFY ROW_NUMBER() OVER favourites <= 3
ORDER BY from_years, rank
