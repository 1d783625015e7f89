-- What do the first five offers of each band rest on, in truth?
-- Grain: one row per band and rank. Units: index 100 = the average of all shoppers; true_index from receipts of the
-- 28 days with true ages, stated_index of the product's category.
-- Input: table cell_index, the rows of truth/cell_index for 28 days.
-- Parameters: $business_date.
SELECT
    offers.age_band,
    offers.rank,
    offers.product_name,
    offers.affinity_index,
    offers.index_low,
    offers.index_high,
    ROUND(cell_index.true_index) AS true_index,
    ROUND(cell_index.stated_index) AS stated_index,
    offers.reason
FROM analytics.age_offers AS offers
INNER JOIN cell_index
    ON
        cell_index.level = 'product'
        AND offers.age_band = cell_index.age_band
        AND offers.product_id = cell_index.item
WHERE
    offers.business_date = $business_date
    AND offers.rank <= 5
ORDER BY cell_index.from_years, offers.rank
