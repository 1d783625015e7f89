-- At which tills do buyers look older or younger than at the other tills of the store, so that the camera may be wrong?
-- Grain: one row per till whose difference over the 7 dates that end with the business date is over 1 year and over 3
-- standard errors; with the same figures of the 21 dates before (null: no photos). A difference that is new suggests the
-- camera. A difference that was there before suggests the clientele. In a store with two tills, nobody can tell which of
-- them differs.
-- Units: shift_years: mean estimated age of the photos less that at the other tills of the store in the same hour of the
-- day (UTC), by one model, in years; se_years: its standard error if photos were independent; z: shift / se.
-- Parameters: $business_date.
WITH photos AS (
    SELECT
        store_id,
        till_id,
        model_version,
        HOUR(captured_at AT TIME ZONE 'UTC') AS utc_hour,
        CASE WHEN business_date > CAST($business_date AS DATE) - 7 THEN 'now' ELSE 'before' END AS period,
        age_years
    FROM restricted.photo_ages
    WHERE
        business_date BETWEEN CAST($business_date AS DATE) - 27 AND CAST($business_date AS DATE)
        AND age_years IS NOT NULL
),

till_hours AS (
    SELECT
        period,
        store_id,
        till_id,
        model_version,
        utc_hour,
        COUNT(*) AS n,
        SUM(age_years) AS age_sum,
        SUM(POWER(age_years, 2)) AS square_sum
    FROM photos
    GROUP BY period, store_id, till_id, model_version, utc_hour
),

store_hours AS (
    SELECT
        *,
        SUM(n) OVER store_hour AS n_store,
        SUM(age_sum) OVER store_hour AS store_age_sum,
        SUM(square_sum) OVER store_hour AS store_square_sum
    FROM till_hours
    WINDOW store_hour AS (PARTITION BY period, store_id, model_version, utc_hour)
),

differences AS (
    SELECT
        period,
        store_id,
        till_id,
        n,
        age_sum / n - (store_age_sum - age_sum) / (n_store - n) AS difference,
        (store_square_sum / n_store - POWER(store_age_sum / n_store, 2))
        * n_store / (n_store - 1) * (1 / n + 1 / (n_store - n)) AS variance
    FROM store_hours
    WHERE n_store > n
),

shifts AS (
    SELECT
        period,
        store_id,
        till_id,
        SUM(n) AS n_photos,
        SUM(n * difference) / SUM(n) AS shift_years,
        SQRT(SUM(POWER(n, 2) * GREATEST(variance, 0))) / SUM(n) AS se_years
    FROM differences
    GROUP BY period, store_id, till_id
)

SELECT
    store_id,
    till_id,
    today.n_photos,
    ROUND(today.shift_years, 1) AS shift_years,
    ROUND(today.se_years, 2) AS se_years,
    ROUND(today.shift_years / NULLIF(today.se_years, 0), 1) AS z,
    earlier.n_photos AS n_photos_before,
    ROUND(earlier.shift_years, 1) AS shift_years_before,
    ROUND(earlier.se_years, 2) AS se_years_before,
    ROUND(earlier.shift_years / NULLIF(earlier.se_years, 0), 1) AS z_before,
    'A reason to check the camera, not a finding. The clientele of a till can differ, such as at self-checkouts. '
    || 'Several photos of one buyer make the standard error too small.' AS caveat
FROM shifts AS today
LEFT JOIN (SELECT * FROM shifts WHERE period = 'before') AS earlier USING (store_id, till_id)
WHERE
    today.period = 'now'
    AND ABS(today.shift_years) > 1
    AND ABS(today.shift_years) > 3 * today.se_years
ORDER BY store_id, till_id
