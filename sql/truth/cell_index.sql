-- What is the affinity index of each published cell, naive and corrected, beside the one by true ages?
-- The true index is counted from the landing zone: receipts of the window with a photo and a true age, by the bands of
-- the warehouse. A receipt contains an item if its net quantity is above zero.
-- Grain: one row per published band and item, for categories and products.
-- Units: n_* in receipts; index 100 = the average of all shoppers; stated_index: of the item's category, from the truth,
-- null if it has none.
-- Parameters: $window_days, $business_date.
WITH predicted AS (
    SELECT
        level,
        age_band,
        item,
        COALESCE(product_name, item) AS item_name,
        COALESCE(category, item) AS category,
        n_receipts_with_item,
        naive_index,
        affinity_index,
        index_low,
        index_high,
        q_value,
        is_notable
    FROM (
        SELECT
            'category' AS level,
            age_band,
            item,
            NULL AS product_name,
            NULL AS category,
            COLUMNS('^(n_receipts_with_item|naive_index|affinity_index|index_low|index_high|q_value|is_notable)$')
        FROM analytics.age_category_affinity
        WHERE
            business_date = $business_date
            AND window_days = CAST($window_days AS INTEGER)
            AND level = 'category'
        UNION ALL BY NAME
        SELECT
            'product' AS level,
            age_band,
            product_id AS item,
            product_name,
            category,
            COLUMNS('^(n_receipts_with_item|naive_index|affinity_index|index_low|index_high|q_value|is_notable)$')
        FROM analytics.age_product_affinity
        WHERE
            business_date = $business_date
            AND window_days = CAST($window_days AS INTEGER)
    )
    WHERE n_receipts_with_item IS NOT NULL
),

bands AS (
    SELECT
        age_band,
        from_years,
        to_years
    FROM analytics.age_bands
    WHERE business_date = $business_date
),

receipts AS (
    -- DISTINCT: a receipt can be repeated or have several photos.
    SELECT DISTINCT
        receipts.business_date,
        receipts.receipt_id,
        ages.true_age
    FROM landing.receipts
    INNER JOIN truth.ages ON receipts.receipt_id = ages.receipt_id
    WHERE
        receipts.business_date BETWEEN CAST($business_date AS DATE) - CAST($window_days AS INTEGER) + 1
        AND $business_date
        AND receipts.closed_at >= receipts.opened_at
        AND ages.photo_id <> ''
),

banded AS (
    SELECT
        receipts.business_date,
        receipts.receipt_id,
        bands.age_band
    FROM receipts
    INNER JOIN bands ON receipts.true_age >= bands.from_years AND receipts.true_age < bands.to_years + 1
),

lines AS (
    SELECT DISTINCT *
    FROM landing.receipt_lines
    WHERE
        business_date BETWEEN CAST($business_date AS DATE) - CAST($window_days AS INTEGER) + 1
        AND $business_date
),

products AS (
    SELECT DISTINCT
        product_id,
        category
    FROM landing.products
),

bought AS (
    SELECT
        banded.receipt_id,
        banded.age_band,
        lines.product_id,
        products.category,
        lines.quantity
    FROM banded
    INNER JOIN lines USING (business_date, receipt_id)
    INNER JOIN products USING (product_id)
),

held AS (
    SELECT
        receipt_id,
        age_band,
        CASE WHEN GROUPING(product_id) = 0 THEN 'product' ELSE 'category' END AS level,
        COALESCE(product_id, category) AS item
    FROM bought
    GROUP BY receipt_id, age_band, GROUPING SETS ((product_id), (category))
    HAVING SUM(quantity) > 0
),

true_cells AS (
    SELECT
        level,
        age_band,
        item,
        COUNT(*) AS n_with_item
    FROM held
    GROUP BY level, age_band, item
),

true_items AS (
    SELECT
        level,
        item,
        COUNT(*) AS n_with_item
    FROM held
    GROUP BY level, item
),

true_bands AS (
    SELECT
        age_band,
        COUNT(*) AS n_receipts,
        SUM(COUNT(*)) OVER () AS n_receipts_all
    FROM banded
    GROUP BY age_band
)

SELECT
    predicted.*,
    bands.from_years,
    COALESCE(true_cells.n_with_item, 0) AS true_n_receipts_with_item,
    100 * (COALESCE(true_cells.n_with_item, 0) / true_bands.n_receipts)
    / (true_items.n_with_item / true_bands.n_receipts_all) AS true_index,
    stated.affinity_index AS stated_index
FROM predicted
INNER JOIN bands USING (age_band)
LEFT JOIN true_cells USING (level, age_band, item)
LEFT JOIN true_items USING (level, item)
LEFT JOIN true_bands USING (age_band)
LEFT JOIN truth.category_affinity AS stated
    ON
        predicted.age_band = stated.age_band
        AND predicted.category = stated.category
ORDER BY predicted.level, bands.from_years, predicted.item
