-- What does each age band buy in a window, in figures that protect people?
-- A count below $min_receipts is hidden, any other is rounded to the nearest five: in cells, bands, items and all
-- receipts alike. Amounts and quantities are scaled by rounded / true count and rounded to whole units. All ratios come
-- from these figures; the corrected index comes from table estimates.
-- Input: tables bands (of the business date), products (from publish/products) and estimates (level, item, age_band,
-- index, interval, q value).
-- Grain: one row per band, level and item; every band has a row for every item sold in the window.
-- Units: receipts; penetration and spend_share are shares of 1; indices: 100 = the average of all shoppers; index_low,
-- index_high: 95 % interval of affinity_index, or of naive_index (Katz et al. 1978) where affinity_index is null.
-- Parameters: $dates (list of business dates), $window_days, $min_receipts, $uncorrected (the reason why there are no
-- estimates; null if there are).
WITH counted AS (
    SELECT
        bands.age_band,
        days.level,
        days.item,
        SUM(days.n_receipts) AS n,
        SUM(days.quantity) AS quantity,
        SUM(days.amount) AS amount
    FROM restricted.daily_counts AS days
    INNER JOIN bands ON days.age_year BETWEEN bands.from_years AND bands.to_years
    WHERE days.business_date IN (SELECT UNNEST(CAST($dates AS DATE[])))
    GROUP BY bands.age_band, days.level, days.item
),

items AS (
    SELECT
        level,
        item,
        5 * ROUND(SUM(n) / 5) AS n_all
    FROM counted
    WHERE level <> 'all'
    GROUP BY level, item
    HAVING SUM(n) > 0
),

in_bands AS (
    SELECT
        age_band,
        n,
        amount,
        5 * ROUND(n / 5) AS n_rounded,
        5 * ROUND(SUM(n) OVER () / 5) AS n_all
    FROM counted
    WHERE level = 'all'
),

-- Null below the smallest published count, and so is every figure that is computed from it.
cells AS (
    SELECT
        items.level,
        items.item,
        bands.age_band,
        counted.quantity,
        counted.amount,
        in_bands.n_all AS receipts_all,
        items.n_all AS with_item_all,
        CASE WHEN counted.n >= $min_receipts THEN counted.n END AS n_true,
        CASE WHEN counted.n >= $min_receipts THEN 5 * ROUND(counted.n / 5) END AS n,
        CASE WHEN counted.n >= $min_receipts THEN in_bands.n_rounded END AS n_band,
        ROUND(in_bands.amount * in_bands.n_rounded / NULLIF(in_bands.n, 0)) AS amount_band
    FROM items
    CROSS JOIN bands
    LEFT JOIN in_bands USING (age_band)
    LEFT JOIN counted USING (level, item, age_band)
),

measured AS (
    SELECT
        level,
        item,
        age_band,
        n,
        n_band,
        receipts_all,
        ROUND(quantity * n / n_true) AS quantity,
        ROUND(amount * n / n_true) AS amount,
        amount_band,
        n / n_band AS penetration,
        CASE WHEN n IS NOT NULL THEN with_item_all / receipts_all END AS penetration_all
    FROM cells
),

indexed AS (
    SELECT
        *,
        100 * penetration / penetration_all AS naive_index,
        1.96 * SQRT(1 / n - 1 / n_band) AS naive_margin
    FROM measured
)

SELECT
    CAST($window_days AS INTEGER) AS window_days,
    indexed.age_band,
    indexed.level,
    indexed.item,
    products.product_name,
    products.category,
    products.department,
    CAST(LEN(CAST($dates AS DATE[])) AS INTEGER) AS n_days,
    CAST(indexed.n_band AS BIGINT) AS n_receipts,
    CAST(indexed.n AS BIGINT) AS n_receipts_with_item,
    indexed.quantity,
    indexed.amount,
    indexed.penetration,
    indexed.penetration_all,
    indexed.naive_index,
    indexed.naive_index / 100 AS lift,
    -- P(band and item) - P(band) P(item): Piatetsky-Shapiro, 1991.
    (indexed.n - indexed.n_band * indexed.penetration_all) / indexed.receipts_all AS leverage,
    indexed.amount / NULLIF(indexed.amount_band, 0) AS spend_share,
    CAST(CASE WHEN indexed.n IS NOT NULL THEN estimates.affinity_index END AS INTEGER) AS affinity_index,
    CAST(
        CASE
            -- GREATEST ignores a null: without this, a hidden cell would have a 1.
            WHEN indexed.n IS NULL THEN NULL
            WHEN $uncorrected IS NOT NULL THEN GREATEST(1, ROUND(indexed.naive_index * EXP(-indexed.naive_margin)))
            ELSE estimates.index_low
        END AS INTEGER
    ) AS index_low,
    CAST(
        CASE
            WHEN indexed.n IS NULL THEN NULL
            WHEN $uncorrected IS NOT NULL THEN GREATEST(1, ROUND(indexed.naive_index * EXP(indexed.naive_margin)))
            ELSE estimates.index_high
        END AS INTEGER
    ) AS index_high,
    CASE WHEN indexed.n IS NOT NULL THEN estimates.q_value END AS q_value,
    CASE
        WHEN indexed.n IS NOT NULL
            THEN COALESCE(
                estimates.q_value <= 0.05 AND (estimates.index_low > 100 OR estimates.index_high < 100), FALSE
            )
    END AS is_notable,
    CASE
        WHEN indexed.n IS NULL THEN 'fewer_than_' || CAST($min_receipts AS INTEGER) || '_receipts'
        ELSE $uncorrected
    END AS reason
FROM indexed
LEFT JOIN estimates USING (level, item, age_band)
LEFT JOIN products
    ON
        indexed.level = 'product'
        AND indexed.item = products.product_id
ORDER BY indexed.level, indexed.item, indexed.age_band
