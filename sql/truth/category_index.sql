-- What is the affinity index of each published category by estimated ages, and by true ages?
-- The true index is counted from the landing zone: receipts of the window with a photo and a true age, by the bands of
-- the warehouse. A receipt contains a category if its net quantity is above zero.
-- Grain: one row per published band and category, the strongest predicted index first.
-- Units: n_* in receipts; index 100 = the average of all shoppers; stated_index: from the truth, null if it has none.
-- Parameters: $window_days, $business_date.
WITH predicted AS (
    SELECT
        age_band,
        item AS category,
        n_receipts_with_item,
        affinity_index
    FROM analytics.age_category_affinity
    WHERE
        business_date = $business_date
        AND window_days = CAST($window_days AS INTEGER)
        AND level = 'category'
        AND suppressed_reason IS NULL
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

held AS (
    SELECT
        banded.receipt_id,
        banded.age_band,
        products.category
    FROM banded
    INNER JOIN lines USING (business_date, receipt_id)
    INNER JOIN products USING (product_id)
    GROUP BY banded.receipt_id, banded.age_band, products.category
    HAVING SUM(lines.quantity) > 0
),

true_cells AS (
    SELECT
        age_band,
        category,
        COUNT(*) AS n_with_item
    FROM held
    GROUP BY age_band, category
),

true_categories AS (
    SELECT
        category,
        COUNT(*) AS n_with_item
    FROM held
    GROUP BY category
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
    predicted.age_band,
    bands.from_years,
    predicted.category,
    predicted.n_receipts_with_item,
    COALESCE(true_cells.n_with_item, 0) AS true_n_receipts_with_item,
    predicted.affinity_index AS predicted_index,
    100 * (COALESCE(true_cells.n_with_item, 0) / true_bands.n_receipts)
    / (true_categories.n_with_item / true_bands.n_receipts_all) AS true_index,
    category_affinity.affinity_index AS stated_index
FROM predicted
INNER JOIN bands USING (age_band)
LEFT JOIN true_cells USING (age_band, category)
LEFT JOIN true_categories USING (category)
LEFT JOIN true_bands USING (age_band)
LEFT JOIN truth.category_affinity USING (age_band, category)
ORDER BY ABS(LN(predicted.affinity_index / 100)) DESC, predicted.age_band, predicted.category
