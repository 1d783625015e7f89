-- Which products should be offered to each adult age band?
-- A product qualifies if its index is notable and at least 105 (1.1 times), if it has a line in the last seven dates of
-- the window, and if at least $min_penetration of the band's receipts contain it. A band that begins below 18 has no
-- offers. A product with a legal age is offered only if $age_restricted is true, and never to a band that begins below
-- 30.
-- Input: tables cells (from publish/age_affinity), bands, products (from publish/products), and estimates, whose
-- log_index is exact where affinity_index is rounded.
-- Grain: one row per band and rank, the highest index first, ties by product_id; at most $n_offers per band and
-- $n_per_category per category.
-- Units: affinity_index: 100 = the average of all shoppers; penetration: share of the band's receipts.
-- Parameters: $business_date (last of the window), $min_penetration, $age_restricted, $n_offers, $n_per_category.
WITH qualified AS (
    SELECT
        cells.*,
        estimates.log_index
    FROM cells
    INNER JOIN bands USING (age_band)
    INNER JOIN products ON cells.item = products.product_id
    INNER JOIN estimates USING (level, item, age_band)
    WHERE
        cells.level = 'product'
        AND cells.is_notable
        AND cells.index_low > 100
        AND cells.affinity_index >= 105
        AND cells.penetration >= $min_penetration
        AND bands.from_years >= 18
        AND (products.min_age = 0 OR ($age_restricted AND bands.from_years >= 30))
        AND products.last_sold > CAST($business_date AS DATE) - 7
),

varied AS (
    SELECT *
    FROM qualified
    QUALIFY
        ROW_NUMBER() OVER (PARTITION BY age_band, category ORDER BY log_index DESC, item) <= $n_per_category
),

ranked AS (
    SELECT
        *,
        ROW_NUMBER() OVER (PARTITION BY age_band ORDER BY log_index DESC, item) AS rank
    FROM varied
)

SELECT
    window_days,
    age_band,
    CAST(rank AS INTEGER) AS rank,
    item AS product_id,
    product_name,
    category,
    department,
    affinity_index,
    index_low,
    index_high,
    penetration,
    FORMAT(
        'Bought {:.1f} times as often by {} as by all shoppers ({:.1f} to {:.1f}), on {:.1f} % of their receipts',
        -- FORMAT alone rounds 1.65 down, because the nearest double is smaller.
        ROUND(affinity_index / 100, 1),
        age_band,
        ROUND(index_low / 100, 1),
        ROUND(index_high / 100, 1),
        ROUND(100 * penetration, 1)
    ) AS reason
FROM ranked
WHERE rank <= $n_offers
ORDER BY age_band, rank
