-- Is every published cell the sum of the daily counts of its window, and is no cell missing?
-- A window of N days is the N dates that end with the business date.
-- Grain: one row per cell that differs from the sum (`counted_*`) or that is missing although it has ten receipts.
-- Units: days, receipts, amounts in the currency of the store.
-- Parameters: $business_date.
WITH published AS (
    SELECT *
    FROM analytics.age_affinity
    WHERE business_date = $business_date
),

windows AS (
    SELECT DISTINCT window_days
    FROM published
),

days AS (
    SELECT *
    FROM restricted.daily_counts
    WHERE
        -- No window is longer than a year. With two constants the scan skips the files of all other dates.
        business_date BETWEEN CAST($business_date AS DATE) - 365 AND $business_date
        AND business_date IN (
            SELECT comparable_date
            FROM analytics.comparable_dates
            WHERE business_date = $business_date
        )
),

counted AS (
    SELECT
        windows.window_days,
        days.age_band,
        days.level,
        days.item,
        SUM(days.n_receipts) AS n_receipts,
        SUM(days.quantity) AS quantity,
        SUM(days.amount) AS amount
    FROM days
    INNER JOIN windows ON days.business_date > CAST($business_date AS DATE) - windows.window_days
    GROUP BY windows.window_days, days.age_band, days.level, days.item
),

counted_days AS (
    SELECT
        windows.window_days,
        COUNT(DISTINCT days.business_date) AS n_days
    FROM days
    INNER JOIN windows ON days.business_date > CAST($business_date AS DATE) - windows.window_days
    GROUP BY windows.window_days
),

cells AS (
    SELECT
        item_counts.window_days,
        item_counts.age_band,
        item_counts.level,
        item_counts.item,
        counted_days.n_days,
        band_counts.n_receipts,
        item_counts.n_receipts AS n_receipts_with_item,
        item_counts.quantity,
        item_counts.amount
    FROM counted AS item_counts
    LEFT JOIN counted AS band_counts
        ON
            item_counts.window_days = band_counts.window_days
            AND item_counts.age_band = band_counts.age_band
            AND band_counts.level = 'all'
    LEFT JOIN counted_days ON item_counts.window_days = counted_days.window_days
    WHERE item_counts.level <> 'all'
)

SELECT
    window_days,
    age_band,
    level,
    item,
    published.n_days,
    cells.n_days AS counted_n_days,
    published.n_receipts,
    cells.n_receipts AS counted_n_receipts,
    published.n_receipts_with_item,
    cells.n_receipts_with_item AS counted_n_receipts_with_item,
    published.amount,
    cells.amount AS counted_amount
FROM published
FULL OUTER JOIN cells USING (window_days, age_band, level, item)
WHERE
    (
        published.window_days IS NULL
        AND cells.n_receipts_with_item >= 10
    )
    OR (
        published.window_days IS NOT NULL
        AND published.suppressed_reason IS NULL
        AND (
            published.n_days = cells.n_days
            AND published.n_receipts = cells.n_receipts
            AND published.n_receipts_with_item = cells.n_receipts_with_item
            -- A sum of doubles depends on the order of the rows.
            AND ABS(published.quantity - cells.quantity) <= 1e-9 * ABS(cells.quantity) + 1e-6
            AND ABS(published.amount - cells.amount) <= 1e-9 * ABS(cells.amount) + 1e-6
        ) IS NOT TRUE
    )
ORDER BY window_days, level, item, age_band
