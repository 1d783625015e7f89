-- How far do the purchases of each age band differ from those of all shoppers?
-- Grain: one row per window, band, level and item; every band has a row for every item sold in the window.
-- Units: receipts; penetration and spend_share are shares of 1; affinity_index: 100 = the average of all shoppers.
-- Parameters: :business_date, last date of the windows; :min_receipts, the smallest cell that is published.
-- Inputs: {daily_counts} and {age_bands} of the 28 dates that end with the business date. Dates with other bands than
-- those of the business date are in no window, because their counts can't be added.
WITH bands_of_date AS (
    SELECT
        age_band,
        from_years,
        to_years
    FROM {age_bands}
    WHERE business_date = :business_date
),

comparable_dates AS (
    SELECT age_bands.business_date
    FROM {age_bands} AS age_bands
    LEFT JOIN bands_of_date USING (age_band, from_years, to_years)
    GROUP BY age_bands.business_date
    HAVING COUNT(*) = COUNT(bands_of_date.age_band)
),

days AS (
    SELECT daily_counts.*
    FROM {daily_counts} AS daily_counts
    INNER JOIN comparable_dates ON daily_counts.business_date = comparable_dates.business_date
),

windows AS (
    SELECT * FROM VALUES (1), (7), (28) AS windows (window_days)
),

counted AS (
    SELECT
        windows.window_days,
        days.age_band,
        days.level,
        days.item,
        SUM(days.n_receipts) AS n_receipts,
        SUM(CAST(ROUND(days.quantity * 10000) AS BIGINT)) / 10000 AS quantity,
        SUM(CAST(ROUND(days.amount * 10000) AS BIGINT)) / 10000 AS amount
    FROM days
    INNER JOIN windows
        ON
            days.business_date > DATE_SUB(:business_date, windows.window_days)
            AND days.business_date <= :business_date
    GROUP BY windows.window_days, days.age_band, days.level, days.item
),

dates AS (
    SELECT
        windows.window_days,
        CAST(COUNT(DISTINCT days.business_date) AS INT) AS n_days
    FROM days
    INNER JOIN windows
        ON
            days.business_date > DATE_SUB(:business_date, windows.window_days)
            AND days.business_date <= :business_date
    GROUP BY windows.window_days
),

bands AS (
    SELECT
        window_days,
        age_band,
        n_receipts,
        amount,
        SUM(n_receipts) OVER (PARTITION BY window_days) AS n_receipts_all
    FROM counted
    WHERE level = 'all'
),

items AS (
    SELECT
        window_days,
        level,
        item,
        SUM(n_receipts) AS n_with_item_all
    FROM counted
    WHERE level != 'all'
    GROUP BY window_days, level, item
),

cells AS (
    SELECT
        items.window_days,
        bands_of_date.age_band,
        items.level,
        items.item,
        items.n_with_item_all,
        bands.n_receipts_all,
        COALESCE(bands.n_receipts, 0) AS n_receipts,
        COALESCE(bands.amount, 0) AS band_amount,
        COALESCE(counted.n_receipts, 0) AS n_receipts_with_item,
        COALESCE(counted.quantity, 0) AS quantity,
        COALESCE(counted.amount, 0) AS amount,
        COALESCE(counted.n_receipts, 0) < :min_receipts AS is_small
    FROM items
    CROSS JOIN bands_of_date
    LEFT JOIN bands ON items.window_days = bands.window_days AND bands_of_date.age_band = bands.age_band
    LEFT JOIN counted
        ON
            items.window_days = counted.window_days
            AND bands_of_date.age_band = counted.age_band
            AND items.level = counted.level
            AND items.item = counted.item
),

-- The total of an item follows from any published cell. So an item must have at least two suppressed cells, with at
-- least :min_receipts receipts together; otherwise the smallest other cell is suppressed too.
guarded AS (
    SELECT
        *,
        CASE
            WHEN is_small THEN 'fewer_than_' || :min_receipts || '_receipts'
            WHEN
                ROW_NUMBER()
                    OVER (PARTITION BY window_days, level, item, is_small ORDER BY n_receipts_with_item, age_band)
                = 1
                AND (n_small = 1 OR n_small > 1 AND n_in_small < :min_receipts)
                THEN 'complementary'
        END AS suppressed_reason
    FROM (
        SELECT
            *,
            COUNT_IF(is_small) OVER (PARTITION BY window_days, level, item) AS n_small,
            SUM(IF(is_small, n_receipts_with_item, 0)) OVER (PARTITION BY window_days, level, item) AS n_in_small
        FROM cells
    )
),

-- These columns are null in a suppressed cell, and so are all ratios of them.
published AS (
    SELECT
        guarded.*,
        CASE WHEN suppressed_reason IS NULL THEN n_receipts_with_item END AS n_published,
        CASE WHEN suppressed_reason IS NULL THEN n_receipts END AS n_of_band,
        CASE WHEN suppressed_reason IS NULL THEN n_with_item_all / n_receipts_all END AS penetration_all
    FROM guarded
)

SELECT
    CAST(published.window_days AS INT) AS window_days,
    published.age_band,
    published.level,
    published.item,
    dates.n_days,
    published.n_of_band AS n_receipts,
    published.n_published AS n_receipts_with_item,
    CASE WHEN published.suppressed_reason IS NULL THEN published.quantity END AS quantity,
    CASE WHEN published.suppressed_reason IS NULL THEN published.amount END AS amount,
    published.n_published / published.n_of_band AS penetration,
    published.penetration_all,
    100 * (published.n_published / published.n_of_band) / published.penetration_all AS affinity_index,
    (published.n_published / published.n_of_band) / published.penetration_all AS lift,
    -- P(band and item) - P(band) P(item): Piatetsky-Shapiro, 1991.
    (published.n_published - published.n_of_band * published.penetration_all) / published.n_receipts_all AS leverage,
    CASE
        WHEN published.suppressed_reason IS NULL THEN published.amount / NULLIF(published.band_amount, 0)
    END AS spend_share,
    published.suppressed_reason
FROM published
INNER JOIN dates ON published.window_days = dates.window_days
