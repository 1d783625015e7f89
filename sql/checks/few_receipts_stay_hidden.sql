-- Is any figure published for fewer than ten receipts, or can such a figure be derived from published ones?
-- Grain: one row per offending cell. Units: receipts.
-- offence: `too_few`: a published cell of fewer than ten receipts; `not_blanked`: a suppressed cell that still has a
-- measure; `unknown_reason`; `derivable`: a single suppressed band of an item, or suppressed bands with fewer than ten
-- receipts together, while other bands are published. The total of the item follows from any published cell, and the
-- suppressed rest by subtraction. n_in_hidden: true number of receipts in the item's suppressed bands.
-- Parameters: $business_date.
WITH cells AS (
    SELECT *
    FROM analytics.age_affinity
    WHERE business_date = $business_date
),

windows AS (
    SELECT DISTINCT window_days
    FROM cells
),

counted AS (
    SELECT
        windows.window_days,
        days.age_band,
        days.level,
        days.item,
        SUM(days.n_receipts) AS n_counted
    FROM restricted.daily_counts AS days
    INNER JOIN windows ON days.business_date > CAST($business_date AS DATE) - windows.window_days
    WHERE
        -- No window is longer than a year. With two constants the scan skips the files of all other dates.
        days.business_date BETWEEN CAST($business_date AS DATE) - 365 AND $business_date
        AND days.business_date IN (
            SELECT comparable_date
            FROM analytics.comparable_dates
            WHERE business_date = $business_date
        )
    GROUP BY windows.window_days, days.age_band, days.level, days.item
),

-- A band without a purchase of the item has no count.
items AS (
    SELECT
        window_days,
        level,
        item,
        COUNT(*) AS n_bands,
        COUNT(suppressed_reason) AS n_hidden,
        COALESCE(SUM(counted.n_counted) FILTER (WHERE suppressed_reason IS NOT NULL), 0) AS n_in_hidden
    FROM cells
    LEFT JOIN counted USING (window_days, age_band, level, item)
    GROUP BY window_days, level, item
),

offences AS (
    SELECT
        window_days,
        age_band,
        level,
        item,
        cells.n_receipts_with_item,
        items.n_in_hidden,
        cells.suppressed_reason,
        CASE
            WHEN cells.suppressed_reason IS NULL AND (cells.n_receipts_with_item >= 10) IS NOT TRUE THEN 'too_few'
            -- n_receipts and n_days do not depend on the item, so they may be published.
            WHEN
                cells.suppressed_reason IS NOT NULL
                AND COALESCE(
                    cells.n_receipts_with_item,
                    cells.quantity,
                    cells.amount,
                    cells.penetration,
                    cells.penetration_all,
                    cells.affinity_index,
                    cells.lift,
                    cells.leverage,
                    cells.spend_share
                ) IS NOT NULL THEN 'not_blanked'
            -- A chain can set a minimum above ten.
            WHEN NOT REGEXP_MATCHES(cells.suppressed_reason, '^(complementary|fewer_than_[1-9][0-9]+_receipts)$')
                THEN 'unknown_reason'
            WHEN
                cells.suppressed_reason IS NOT NULL
                AND items.n_hidden < items.n_bands
                AND (items.n_hidden = 1 OR items.n_in_hidden < 10)
                THEN 'derivable'
        END AS offence
    FROM cells
    INNER JOIN items USING (window_days, level, item)
)

SELECT *
FROM offences
WHERE offence IS NOT NULL
ORDER BY window_days, level, item, age_band
