-- In which stores do receipts have no photo although sales went on, so that cameras may have been off?
-- Grain: one row per store, with the hours in which this is clearest: receipts without a photo are more than by chance and
-- the usual differences between dates, and their share is at least 5 points larger. Both must hold against the receipts of
-- the store in the same hours of the 28 dates before, and against those of the same weekday among these dates. If a till
-- has far fewer photos than usual, less evidence of the whole date is enough. Of 500 nights without a change, about one
-- has a row; but if nearly all dates are perfect, each of the few bad ones has. One camera of several is found if the
-- tills have some 15 photos a date. A store that stays without photos has a row for about ten dates; with fewer than 100
-- receipts a date, for about eight.
-- Units: receipts; hours are local hours of opening, 0-23, both included. usual_share: the larger one of the shares
-- before. quiet_tills: tills of the store with less than half of their usual photos, and the time of the last one (UTC).
-- Receipts of staffed tills without a cashier are not known by hour, so they do not count.
-- Parameters: $business_date.
WITH days AS (
    SELECT
        store_id,
        business_date,
        business_date = CAST($business_date AS DATE) AS is_today,
        hour,
        SUM(n_receipts) AS n,
        SUM(n_receipts - n_with_photo) AS x
    FROM restricted.cashier_daily_counts
    WHERE business_date BETWEEN CAST($business_date AS DATE) - 28 AND CAST($business_date AS DATE)
    GROUP BY store_id, business_date, hour
),

-- Each hour twice: compared with all dates, and with those of the same weekday.
hours AS (
    SELECT
        UNNEST(
            CASE WHEN (CAST($business_date AS DATE) - business_date) % 7 = 0 THEN ['all', 'weekday'] ELSE ['all'] END
        ) AS compared_with,
        store_id,
        hour,
        SUM(n) FILTER (WHERE is_today) AS n,
        SUM(x) FILTER (WHERE is_today) AS x,
        SUM(n) FILTER (WHERE NOT is_today) AS n_before,
        SUM(x) FILTER (WHERE NOT is_today) AS x_before
    FROM days
    GROUP BY compared_with, store_id, hour
    HAVING n > 0
),

dates AS (
    SELECT
        store_id,
        SUM(n) AS n,
        SUM(x) AS x,
        MEDIAN(SUM(x) / SUM(n)) OVER (PARTITION BY store_id) AS share
    FROM days
    WHERE NOT is_today
    GROUP BY store_id, business_date
),

-- Dates differ by more than chance: the variance of their numbers over that of binomial ones. From medians, which some
-- dates without photos do not change: that of chi2(1) is 0.455.
spread AS (
    SELECT
        store_id,
        GREATEST(1, MEDIAN(POWER(x - n * share, 2) / NULLIF(n * share * (1 - share), 0)) / 0.455)
        * CASE WHEN COUNT(*) < 7 THEN 2 ELSE 1 END AS dispersion
    FROM dates
    GROUP BY store_id
),

spans AS (
    SELECT
        compared_with,
        first.store_id,
        first.hour AS from_hour,
        last.hour AS to_hour,
        SUM(inside.n) AS n,
        SUM(inside.x) AS x,
        SUM(inside.n_before) AS n_before,
        SUM(inside.x_before) AS x_before
    FROM hours AS first
    INNER JOIN hours AS last USING (compared_with, store_id)
    INNER JOIN hours AS inside USING (compared_with, store_id)
    WHERE
        first.hour <= last.hour
        AND inside.hour BETWEEN first.hour AND last.hour
    GROUP BY compared_with, first.store_id, first.hour, last.hour
    HAVING SUM(inside.n_before) >= 20
),

tested AS (
    SELECT
        *,
        MAX(n) OVER (PARTITION BY store_id) AS n_of_date,
        x / (x + x_before) AS part,
        n / (n + n_before) AS usual_part,
        COUNT(*) OVER (PARTITION BY compared_with) AS n_tests,
        COUNT(*) OVER (PARTITION BY store_id, from_hour, to_hour) AS n_comparisons
    FROM spans
    INNER JOIN spread USING (store_id)
),

beyond AS (
    SELECT
        store_id,
        from_hour,
        to_hour,
        n,
        x,
        n = n_of_date AS is_whole_date,
        MAX(n_tests) AS n_tests,
        MAX(x_before / n_before) AS usual_share,
        -- If nothing changed, x of the x + x_before receipts without a photo is hypergeometric; this is Hoeffding's
        -- bound of the logarithm of the probability of more.
        MIN(
            (x + x_before) * (
                part * LN(part / usual_part)
                + CASE WHEN part < 1 THEN (1 - part) * LN((1 - part) / (1 - usual_part)) ELSE 0 END
            ) / dispersion
        ) AS evidence
    FROM tested
    WHERE
        part > usual_part
        AND x / n > x_before / n_before + 0.05
    GROUP BY store_id, from_hour, to_hour, n, x, is_whole_date
    HAVING COUNT(*) = MAX(n_comparisons)
),

tills AS (
    SELECT
        store_id,
        till_id,
        COUNT(*) FILTER (WHERE business_date = CAST($business_date AS DATE)) AS n_photos,
        COUNT(*) FILTER (WHERE business_date < CAST($business_date AS DATE))
        / NULLIF(COUNT(DISTINCT business_date) FILTER (WHERE business_date < CAST($business_date AS DATE)), 0)
            AS usual_photos,
        MAX(captured_at) FILTER (WHERE business_date = CAST($business_date AS DATE)) AS last_photo,
        COUNT(*) OVER () AS n_tills
    FROM restricted.photo_ages
    WHERE business_date BETWEEN CAST($business_date AS DATE) - 28 AND CAST($business_date AS DATE)
    GROUP BY store_id, till_id
),

quiet AS (
    SELECT
        store_id,
        -- Chernoff's bound of the probability of so few photos, Poisson.
        BOOL_OR(
            usual_photos - n_photos + CASE WHEN n_photos > 0 THEN n_photos * LN(n_photos / usual_photos) ELSE 0 END
            > LN(n_tills / 0.002)
        ) AS is_silent,
        STRING_AGG(till_id || COALESCE(' ' || STRFTIME(last_photo, '%H:%M'), ''), ', ' ORDER BY till_id) AS quiet_tills
    FROM tills
    WHERE
        usual_photos >= 4
        AND n_photos < usual_photos / 2
    GROUP BY store_id
)

SELECT
    store_id,
    from_hour,
    to_hour,
    CAST(n AS BIGINT) AS n_receipts,
    CAST(x AS BIGINT) AS n_without_photo,
    ROUND(usual_share, 3) AS usual_share,
    quiet.quiet_tills
FROM beyond
LEFT JOIN quiet USING (store_id)
WHERE
    evidence > LN(n_tests / 0.002)
    -- A till without photos may be closed; not if its store has more receipts without a photo too.
    OR (quiet.is_silent AND is_whole_date AND evidence > LN(20))
QUALIFY ROW_NUMBER() OVER (PARTITION BY store_id ORDER BY evidence DESC, from_hour, to_hour) = 1
ORDER BY store_id
