-- At which tills do buyers look older or younger than at the other tills of the store, by more than before, so that the
-- camera may be wrong? Auditors see more tills, with smaller differences, in auditor/tills_with_camera_drift.
-- Grain: one row per till whose difference over the 7 dates that end with the business date changed by more than 2
-- years from the 21 dates before, and by more than chance: of 500 nights without a change, one has a row. A till
-- without 30 receipts before is compared with the other tills only; then a difference of the clientele is a reason too.
-- Tills with 30 receipts in the 7 dates. In a store with two tills, nobody can tell which of them differs.
-- Units: receipts with a photo; shift_years: mean estimated age less that at the other tills of the store in the same
-- hour (UTC), by one model, years; z: its change in standard errors.
-- Parameters: $business_date.
WITH photos AS (
    SELECT
        photo_id,
        business_date,
        model_version,
        HOUR(captured_at AT TIME ZONE 'UTC') AS utc_hour
    FROM restricted.photo_ages
    WHERE
        business_date BETWEEN CAST($business_date AS DATE) - 27 AND CAST($business_date AS DATE)
        AND age_years IS NOT NULL
),

-- Receipts, because several photos of one buyer are not independent.
till_hours AS (
    SELECT
        receipts.business_date > CAST($business_date AS DATE) - 7 AS is_now,
        receipts.store_id,
        receipts.till_id,
        photos.model_version,
        photos.utc_hour,
        COUNT(*) AS n,
        SUM(receipts.age_years) AS age_sum,
        SUM(POWER(receipts.age_years, 2)) AS square_sum
    FROM restricted.receipt_ages AS receipts
    INNER JOIN photos ON receipts.business_date = photos.business_date AND receipts.photo_ids[1] = photos.photo_id
    WHERE receipts.business_date BETWEEN CAST($business_date AS DATE) - 27 AND CAST($business_date AS DATE)
    GROUP BY is_now, receipts.store_id, receipts.till_id, photos.model_version, photos.utc_hour
),

store_hours AS (
    SELECT
        *,
        SUM(n) OVER store_hour AS n_store,
        SUM(age_sum) OVER store_hour AS store_age_sum
    FROM till_hours
    WINDOW store_hour AS (PARTITION BY is_now, store_id, model_version, utc_hour)
),

-- Of the receipts of a store: hours have few.
variances AS (
    SELECT
        is_now,
        store_id,
        SUM(square_sum) / SUM(n) - POWER(SUM(age_sum) / SUM(n), 2) AS variance
    FROM till_hours
    GROUP BY is_now, store_id
),

shifts AS (
    SELECT
        is_now,
        store_id,
        till_id,
        SUM(n) AS n_receipts,
        SUM(n * (age_sum / n - (store_age_sum - age_sum) / (n_store - n))) / SUM(n) AS shift_years,
        MAX(variance) * SUM(POWER(n, 2) * (1 / n + 1 / (n_store - n))) / POWER(SUM(n), 2) AS variance
    FROM store_hours
    INNER JOIN variances USING (is_now, store_id)
    WHERE n_store > n
    GROUP BY is_now, store_id, till_id
),

changes AS (
    SELECT
        store_id,
        till_id,
        today.n_receipts,
        today.shift_years,
        earlier.shift_years AS shift_years_before,
        today.shift_years - COALESCE(earlier.shift_years, 0) AS change,
        (today.shift_years - COALESCE(earlier.shift_years, 0))
        / SQRT(NULLIF(today.variance + COALESCE(earlier.variance, 0), 0)) AS z,
        COUNT(*) OVER () AS n_tests
    FROM shifts AS today
    LEFT JOIN (SELECT * FROM shifts WHERE NOT is_now AND n_receipts >= 30) AS earlier USING (store_id, till_id)
    WHERE
        today.is_now
        AND today.n_receipts >= 30
)

SELECT
    store_id,
    till_id,
    n_receipts,
    ROUND(shift_years, 1) AS shift_years,
    ROUND(shift_years_before, 1) AS shift_years_before,
    ROUND(z, 1) AS z,
    'A reason to check the camera, not a finding. The clientele of a till can differ.' AS caveat
FROM changes
WHERE
    ABS(change) > 2
    -- Mills' bound of the probability of a larger |z|.
    AND EXP(-POWER(z, 2) / 2) * SQRT(2 / PI()) / ABS(z) < 0.002 / n_tests
ORDER BY store_id, till_id
