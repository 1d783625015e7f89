-- How many of the first five offers of each adult band are bought more than 1.2 times as often in truth?
-- Compared with the five products of the highest naive index. The truth is the stated index of the product's category,
-- or where the truth states none, the index by true ages.
-- Grain: one row per band that begins at 18 or later and method (offers, naive). Units: products; share_right: of 1.
-- Input: table cell_index, the rows of truth/cell_index for 28 days.
-- Parameters: $business_date.
WITH ranked AS (
    SELECT
        age_band,
        from_years,
        'naive' AS method,
        COALESCE(stated_index, true_index) AS reference
    FROM cell_index
    WHERE
        level = 'product'
        AND from_years >= 18
    QUALIFY ROW_NUMBER() OVER (PARTITION BY age_band ORDER BY naive_index DESC, item) <= 5
    UNION ALL
    SELECT
        cell_index.age_band,
        cell_index.from_years,
        'offers' AS method,
        COALESCE(cell_index.stated_index, cell_index.true_index) AS reference
    FROM cell_index
    INNER JOIN analytics.age_offers AS offers
        ON
            cell_index.level = 'product'
            AND offers.age_band = cell_index.age_band
            AND offers.product_id = cell_index.item
    WHERE
        offers.business_date = $business_date
        AND offers.rank <= 5
)

SELECT
    age_band,
    method,
    COUNT(*) AS n_products,
    AVG(CAST(reference > 120 AS INTEGER)) AS share_right
FROM ranked
GROUP BY age_band, from_years, method
ORDER BY from_years, method DESC
