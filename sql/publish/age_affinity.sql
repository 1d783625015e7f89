-- What does each age band buy in a window, in figures that protect people?
-- A count below $min_receipts is hidden, any other is rounded to the nearest multiple of $round_to: in cells, bands,
-- items and all receipts alike. Amounts and quantities are scaled by rounded / true count, then rounded as coarsely as
-- the counts: to $round_to times the item's mean per receipt, in whole units. With a known price, a finer amount tells
-- the true count. All ratios come from these figures; the corrected index comes from table estimates.
-- Input: tables bands (of the business date), products (from publish/products) and estimates (level, item, age_band,
-- index, interval, q value).
-- Grain: one row per band, level and item; every band has a row for every item sold in the window.
-- Units: receipts; penetration and spend_share are shares of 1; indices: 100 = the average of all shoppers; index_low,
-- index_high: 95 % interval of affinity_index, or of naive_index (Katz et al. 1978) where affinity_index is null.
-- Parameters: $dates (list of business dates), $window_days, $min_receipts, $round_to (receipts), $uncorrected (the
-- reason why there are no estimates; null if there are).
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

means AS (
    SELECT
        level,
        item,
        SUM(n) AS n,
        -- A sum of doubles depends on the order of the rows. Without ROUND, a mean of 4.5 could be rounded to 4 or to 5.
        NULLIF(ROUND(ABS(SUM(quantity) / SUM(n)), 6), 0) AS quantity,
        NULLIF(ROUND(ABS(SUM(amount) / SUM(n)), 6), 0) AS amount
    FROM counted
    GROUP BY level, item
    HAVING SUM(n) > 0
),

-- The means are rounded to one significant digit, because the multiples show them.
items AS (
    SELECT
        level,
        item,
        $round_to * ROUND(n / $round_to) AS n_all,
        GREATEST(1, ROUND($round_to * ROUND(quantity, -CAST(FLOOR(LOG10(quantity)) AS INTEGER)))) AS quantity_step,
        GREATEST(1, ROUND($round_to * ROUND(amount, -CAST(FLOOR(LOG10(amount)) AS INTEGER)))) AS amount_step
    FROM means
),

in_bands AS (
    SELECT
        counted.age_band,
        items.n_all,
        $round_to * ROUND(counted.n / $round_to) AS n_rounded,
        items.amount_step
        * ROUND(counted.amount * n_rounded / NULLIF(counted.n, 0) / items.amount_step) AS amount_rounded
    FROM counted
    INNER JOIN items USING (level, item)
    WHERE level = 'all'
),

-- Null below the smallest published count, and so is every figure that is computed from it.
cells AS (
    SELECT
        items.level,
        items.item,
        bands.age_band,
        items.quantity_step,
        items.amount_step,
        counted.quantity,
        counted.amount,
        in_bands.n_all AS receipts_all,
        items.n_all AS with_item_all,
        CASE WHEN counted.n >= $min_receipts THEN counted.n END AS n_true,
        CASE WHEN counted.n >= $min_receipts THEN $round_to * ROUND(counted.n / $round_to) END AS n,
        CASE WHEN counted.n >= $min_receipts THEN in_bands.n_rounded END AS n_band,
        in_bands.amount_rounded AS amount_band
    FROM items
    CROSS JOIN bands
    LEFT JOIN in_bands USING (age_band)
    LEFT JOIN counted USING (level, item, age_band)
    WHERE items.level <> 'all'
),

measured AS (
    SELECT
        level,
        item,
        age_band,
        n,
        n_band,
        receipts_all,
        quantity_step * ROUND(quantity * n / n_true / quantity_step) AS quantity,
        amount_step * ROUND(amount * n / n_true / amount_step) AS amount,
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
            WHEN estimates.index_low IS NULL THEN GREATEST(1, ROUND(indexed.naive_index * EXP(-indexed.naive_margin)))
            ELSE estimates.index_low
        END AS INTEGER
    ) AS index_low,
    CAST(
        CASE
            WHEN indexed.n IS NULL THEN NULL
            WHEN estimates.index_low IS NULL THEN GREATEST(1, ROUND(indexed.naive_index * EXP(indexed.naive_margin)))
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
        WHEN estimates.index_low IS NULL THEN COALESCE($uncorrected, 'category_without_receipts')
    END AS reason
FROM indexed
LEFT JOIN estimates USING (level, item, age_band)
LEFT JOIN products
    ON
        indexed.level = 'product'
        AND indexed.item = products.product_id
ORDER BY indexed.level, indexed.item, indexed.age_band
