-- In which stores do receipts have no photo although sales went on, so that cameras may have been off?
-- Grain: one row per store, with the hours in which this is clearest: receipts without a photo are more than by chance,
-- compared with the receipts of the store on the 28 dates before, and their share is at least 5 points larger. If a
-- till has far fewer photos than usual, less evidence of the whole date is enough. Of 500 nights without a change, about
-- one has a row. One camera of several is found if the tills have some 15 photos a date.
-- Units: receipts; hours are local hours of opening, 0-23, both included. quiet_tills: tills of the store with less
-- than half of their usual photos, and the time of the last one (UTC). Receipts of staffed tills without a cashier are
-- not known by hour, so they do not count.
-- Parameters: $business_date.
WITH hours AS (
    SELECT
        store_id,
        business_date = CAST($business_date AS DATE) AS is_today,
        hour,
        SUM(n_receipts) AS n,
        SUM(n_receipts - n_with_photo) AS x
    FROM restricted.cashier_daily_counts
    WHERE business_date BETWEEN CAST($business_date AS DATE) - 28 AND CAST($business_date AS DATE)
    GROUP BY store_id, is_today, hour
),

before AS (
    SELECT
        store_id,
        SUM(n) AS n_before,
        SUM(x) AS x_before
    FROM hours
    WHERE NOT is_today
    GROUP BY store_id
    HAVING SUM(n) >= 50
),

spans AS (
    SELECT
        first.store_id,
        first.hour AS from_hour,
        last.hour AS to_hour,
        SUM(inside.n) AS n,
        SUM(inside.x) AS x
    FROM hours AS first
    INNER JOIN hours AS last ON first.store_id = last.store_id AND first.hour <= last.hour
    INNER JOIN hours AS inside ON first.store_id = inside.store_id AND inside.hour BETWEEN first.hour AND last.hour
    WHERE
        first.is_today
        AND last.is_today
        AND inside.is_today
    GROUP BY first.store_id, first.hour, last.hour
),

tested AS (
    SELECT
        *,
        MAX(n) OVER (PARTITION BY store_id) AS n_of_date,
        x / (x + x_before) AS part,
        n / (n + n_before) AS usual_part,
        COUNT(*) OVER () AS n_tests
    FROM spans
    INNER JOIN before USING (store_id)
),

beyond AS (
    SELECT
        *,
        -- If nothing changed, x of the x + x_before receipts without a photo is hypergeometric; this is Hoeffding's
        -- bound of the logarithm of the probability of more.
        (x + x_before) * (
            part * LN(part / usual_part)
            + CASE WHEN part < 1 THEN (1 - part) * LN((1 - part) / (1 - usual_part)) ELSE 0 END
        ) AS evidence
    FROM tested
    WHERE
        part > usual_part
        AND x / n > x_before / n_before + 0.05
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
    ROUND(x_before / n_before, 3) AS usual_share,
    quiet.quiet_tills
FROM beyond
LEFT JOIN quiet USING (store_id)
WHERE
    evidence > LN(n_tests / 0.002)
    -- A till without photos may be closed; not if its store has more receipts without a photo too.
    OR (quiet.is_silent AND n = n_of_date AND evidence > LN(20))
QUALIFY ROW_NUMBER() OVER (PARTITION BY store_id ORDER BY evidence DESC, from_hour, to_hour) = 1
ORDER BY store_id
