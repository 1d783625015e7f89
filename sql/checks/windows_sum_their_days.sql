-- Does every published cell follow from the daily counts of its window, and is no cell missing?
-- A window of N days contains the counted dates among the N dates that end with the business date, except those of
-- another model or error kernel, and those whose counts are deleted. Counts are added by the bands of the business
-- date, then rounded to the nearest ten. A count below the limit that the reasons of hidden cells state (at least ten)
-- must be hidden, any other published.
-- Grain: one row per cell that is missing, does not belong to the window, or differs. counted_*: the true sums.
-- Units: days, receipts, amounts in the currency of the store.
-- Parameters: $business_date.
WITH published AS (
    SELECT
        *,
        -- Null if no cell is hidden.
        MAX(TRY_CAST(REGEXP_EXTRACT(reason, '^fewer_than_(\d+)_receipts$', 1) AS INTEGER)) OVER () AS min_receipts
    FROM analytics.age_affinity
    WHERE business_date = $business_date
),

windows AS (
    SELECT *
    FROM (VALUES (1), (7), (28)) AS length (window_days)
),

bands AS (
    SELECT
        age_band,
        from_years,
        to_years
    FROM analytics.age_bands
    WHERE business_date = $business_date
),

versions AS (
    SELECT
        business_date,
        MAX(text) FILTER (WHERE job = 'count_purchases' AND measure = 'counts_hash') AS counts_hash,
        COUNT(*) FILTER (WHERE job = 'count_purchases' AND measure = 'counts_deleted') > 0 AS counts_deleted,
        MAX(text) FILTER (WHERE job = 'score_photos' AND measure = 'model_version') AS model_version,
        MAX(text) FILTER (WHERE job = 'score_photos' AND measure = 'kernel_version') AS kernel_version
    FROM analytics.run_quality
    WHERE business_date BETWEEN CAST($business_date AS DATE) - 27 AND $business_date
    GROUP BY business_date
),

window_dates AS (
    SELECT
        windows.window_days,
        versions.business_date,
        COUNT(*) OVER (PARTITION BY windows.window_days) AS n_days
    FROM versions
    INNER JOIN versions AS own
        ON
            $business_date = own.business_date
            AND versions.model_version IS NOT DISTINCT FROM own.model_version
            AND versions.kernel_version IS NOT DISTINCT FROM own.kernel_version
    INNER JOIN windows ON versions.business_date > CAST($business_date AS DATE) - windows.window_days
    WHERE
        versions.counts_hash IS NOT NULL
        AND NOT versions.counts_deleted
),

days AS (
    SELECT *
    FROM restricted.daily_counts
    WHERE business_date BETWEEN CAST($business_date AS DATE) - 27 AND $business_date
),

counted AS (
    SELECT
        window_dates.window_days,
        window_dates.n_days,
        bands.age_band,
        days.level,
        days.item,
        SUM(days.n_receipts) AS n,
        SUM(days.quantity) AS quantity,
        SUM(days.amount) AS amount
    FROM days
    INNER JOIN window_dates USING (business_date)
    INNER JOIN bands ON days.age_year BETWEEN bands.from_years AND bands.to_years
    GROUP BY window_dates.window_days, window_dates.n_days, bands.age_band, days.level, days.item
),

items AS (
    SELECT
        window_days,
        n_days,
        level,
        item,
        SUM(n) AS n_all,
        -- As in publish/age_affinity: without ROUND, a mean of 4.5 could be rounded to 4 or to 5.
        NULLIF(ROUND(ABS(SUM(quantity) / n_all), 6), 0) AS mean_quantity,
        NULLIF(ROUND(ABS(SUM(amount) / n_all), 6), 0) AS mean_amount,
        -- Amounts and quantities are rounded to ten receipts, at the mean per receipt to one significant digit.
        GREATEST(1, ROUND(10 * ROUND(mean_quantity, -CAST(FLOOR(LOG10(mean_quantity)) AS INTEGER)))) / 2
            AS quantity_margin,
        GREATEST(1, ROUND(10 * ROUND(mean_amount, -CAST(FLOOR(LOG10(mean_amount)) AS INTEGER)))) / 2
            AS amount_margin
    FROM counted
    GROUP BY window_days, n_days, level, item
    HAVING SUM(n) > 0
),

cells AS (
    SELECT
        items.window_days,
        bands.age_band,
        items.level,
        items.item,
        items.n_days,
        in_band.n AS n_band,
        COALESCE(counted.n, 0) AS n,
        items.quantity_margin,
        items.amount_margin,
        total.amount_margin AS amount_band_margin,
        10 * ROUND(counted.n / 10) AS n_rounded,
        10 * ROUND(in_band.n / 10) AS n_band_rounded,
        ROUND(items.n_all / 10) / ROUND(total.n_all / 10) AS penetration_all,
        counted.quantity,
        counted.amount,
        counted.quantity * n_rounded / counted.n AS quantity_scaled,
        counted.amount * n_rounded / counted.n AS amount_scaled,
        in_band.amount * n_band_rounded / in_band.n AS amount_band
    FROM items
    CROSS JOIN bands
    INNER JOIN items AS total
        ON
            items.window_days = total.window_days
            AND total.level = 'all'
    LEFT JOIN counted
        ON
            items.window_days = counted.window_days
            AND items.level = counted.level
            AND items.item = counted.item
            AND bands.age_band = counted.age_band
    LEFT JOIN counted AS in_band
        ON
            items.window_days = in_band.window_days
            AND bands.age_band = in_band.age_band
            AND in_band.level = 'all'
    WHERE items.level <> 'all'
)

SELECT
    window_days,
    age_band,
    level,
    item,
    published.n_days,
    cells.n_days AS counted_n_days,
    published.n_receipts,
    cells.n_band AS counted_n_receipts,
    published.n_receipts_with_item,
    cells.n AS counted_n_receipts_with_item,
    published.amount,
    cells.amount AS counted_amount,
    published.reason
FROM published
FULL OUTER JOIN cells USING (window_days, age_band, level, item)
WHERE
    -- A missing row on either side makes the comparison null.
    CASE
        WHEN published.reason LIKE 'fewer_than_%'
            THEN published.n_days = cells.n_days AND cells.n < published.min_receipts
        ELSE
            published.n_days = cells.n_days
            AND cells.n >= COALESCE(published.min_receipts, 10)
            AND published.n_receipts = cells.n_band_rounded
            AND published.n_receipts_with_item = cells.n_rounded
            AND ABS(published.penetration_all - cells.penetration_all) <= 1e-12
            -- A sum of doubles depends on the order of the rows, and so can the direction in which it is rounded.
            AND ABS(published.quantity - cells.quantity_scaled) <= cells.quantity_margin + 1e-9 * ABS(cells.quantity) + 1e-6
            AND ABS(published.amount - cells.amount_scaled) <= cells.amount_margin + 1e-9 * ABS(cells.amount) + 1e-6
            -- Multiples of whole numbers; the margin is half of them.
            AND published.quantity % (2 * cells.quantity_margin) = 0
            AND published.amount % (2 * cells.amount_margin) = 0
            -- spend_share is null if the spending of the band rounds to 0.
            AND COALESCE(
                ABS(published.spend_share * cells.amount_band - published.amount)
                <= cells.amount_band_margin * ABS(published.spend_share) + 1e-9 * ABS(cells.amount) + 1e-6,
                ABS(cells.amount_band) <= cells.amount_band_margin + 1e-6
            )
    END IS NOT TRUE
ORDER BY window_days, level, item, age_band
