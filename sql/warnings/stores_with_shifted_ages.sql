-- In which stores do the estimated ages, or the widths of their intervals, differ from the 28 dates before, compared
-- with the other stores, so that a camera may be dark, dirty or moved?
-- Grain: one row per store and measure (age_years; interval_years; deviation_years, the distance from the mean age of
-- the store on the date: of dark photos, all look the same age) that differs by more than a year and more than by
-- chance: of 500 nights without a change, one has a row. Only photos scored by the model of the date; stores with 20
-- photos on the date and 50 before; chains with ten dates of stores before, without the first of each store.
-- Units: years. change_years: mean of the store less its usual mean, less the median of that of all stores on the date,
-- so that a change of all shoppers of the chain is none of a store (with fewer than three stores, without the median).
-- spread: how much more the dates of a store differ than random samples would, a ratio of variances; z: the change in
-- standard errors, less as the spread is known from few dates.
-- Parameters: $business_date.
WITH photos AS (
    SELECT
        business_date,
        store_id,
        age_years,
        age_high - age_low AS interval_years,
        ABS(age_years - AVG(age_years) OVER (PARTITION BY store_id, business_date)) AS deviation_years
    FROM restricted.photo_ages
    WHERE
        business_date BETWEEN CAST($business_date AS DATE) - 28 AND CAST($business_date AS DATE)
        AND age_years IS NOT NULL
        AND model_version = (SELECT MAX(model_version) FROM restricted.photo_ages WHERE business_date = $business_date)
),

store_dates AS (
    SELECT
        measure,
        store_id,
        business_date,
        COUNT(*) AS n,
        SUM(years) AS total,
        SUM(POWER(years, 2)) AS squares
    FROM photos
    UNPIVOT (years FOR measure IN (age_years, interval_years, deviation_years))
    GROUP BY measure, store_id, business_date
),

stores_before AS (
    SELECT
        measure,
        store_id,
        SUM(n) AS m,
        SUM(total) / SUM(n) AS usual_years,
        -- Around the mean of each date.
        (SUM(squares) - SUM(POWER(total, 2) / n)) / (SUM(n) - COUNT(*)) AS variance
    FROM store_dates
    WHERE business_date < CAST($business_date AS DATE)
    GROUP BY measure, store_id
    HAVING
        SUM(n) >= 50
        AND SUM(n) > COUNT(*)
),

changes AS (
    SELECT
        *,
        total / n - usual_years
        - CASE WHEN COUNT(*) OVER of_date >= 3 THEN MEDIAN(total / n - usual_years) OVER of_date ELSE 0 END
            AS change_years
    FROM store_dates
    INNER JOIN stores_before USING (measure, store_id)
    WHERE
        n >= 20
        AND variance > 0
    WINDOW of_date AS (PARTITION BY measure, business_date)
),

spreads AS (
    SELECT
        measure,
        -- From the median, which a few dates of a dark camera do not change: that of chi2(1) is 0.455, and its error is
        -- that of a mean of 0.37 times as many.
        0.37 * (COUNT(*) - COUNT(DISTINCT store_id)) AS freedom,
        GREATEST(1, MEDIAN(n * POWER(change_years, 2) / variance / (1 - n / (m + 1))) / 0.455) AS spread
    FROM changes
    WHERE business_date < CAST($business_date AS DATE)
    GROUP BY measure
    HAVING COUNT(*) - COUNT(DISTINCT store_id) >= 10
),

tested AS (
    SELECT
        *,
        change_years / SQRT(spread * variance * (1 / n + 1 / m)) AS t,
        -- A normal variable instead of Student's t: Wallace 1959, Annals of Mathematical Statistics 30.
        SIGN(t) * (8 * freedom + 1) / (8 * freedom + 3) * SQRT(freedom * LN(1 + POWER(t, 2) / freedom)) AS z,
        COUNT(*) OVER () AS n_tests
    FROM changes
    INNER JOIN spreads USING (measure)
    WHERE business_date = CAST($business_date AS DATE)
)

SELECT
    store_id,
    measure,
    n AS n_photos,
    ROUND(total / n, 1) AS mean_years,
    ROUND(usual_years, 1) AS usual_years,
    ROUND(change_years, 1) AS change_years,
    ROUND(spread, 2) AS spread,
    ROUND(z, 1) AS z
FROM tested
WHERE
    ABS(change_years) > 1
    -- Mills' bound of the probability of a larger |z|.
    AND EXP(-POWER(z, 2) / 2) * SQRT(2 / PI()) / ABS(z) < 0.002 / n_tests
ORDER BY store_id, measure
