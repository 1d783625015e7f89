-- In which stores is the share of photos that are unreadable, or belong to no receipt, larger than on the 28 dates
-- before? Files are damaged, or the clock of a camera or a till is wrong.
-- Grain: one row per store and fault (unreadable, unmatched) whose share is at least 5 %, at least twice the usual one,
-- and larger than by chance: of 500 nights without a change, fewer than one has a row; but if nearly all dates are
-- perfect, each of the few bad ones has.
-- Units: photos of the date. Parameters: $business_date.
WITH matched AS (
    SELECT
        business_date,
        UNNEST(photo_ids) AS photo_id,
        LEN(photo_ids) AS n_of_receipt
    FROM restricted.receipt_ages
    WHERE business_date BETWEEN CAST($business_date AS DATE) - 28 AND CAST($business_date AS DATE)
),

photos AS (
    SELECT
        photos.store_id,
        photos.business_date,
        photos.business_date = CAST($business_date AS DATE) AS is_today,
        CAST(photos.age_years IS NULL AS INTEGER) AS unreadable,
        CAST(photos.age_years IS NOT NULL AND matched.photo_id IS NULL AS INTEGER) AS unmatched
    FROM restricted.photo_ages AS photos
    LEFT JOIN matched USING (business_date, photo_id)
    WHERE photos.business_date BETWEEN CAST($business_date AS DATE) - 28 AND CAST($business_date AS DATE)
),

dates AS (
    SELECT
        store_id,
        fault,
        is_today,
        COUNT(*) AS n,
        SUM(is_fault) AS x,
        MEDIAN(SUM(is_fault) / COUNT(*)) FILTER (WHERE NOT is_today) OVER (PARTITION BY store_id, fault) AS share
    FROM photos
    UNPIVOT (is_fault FOR fault IN (unreadable, unmatched))
    GROUP BY store_id, fault, business_date, is_today
),

stores AS (
    SELECT
        store_id,
        fault,
        SUM(n) FILTER (WHERE is_today) AS n,
        SUM(x) FILTER (WHERE is_today) AS x,
        SUM(n) FILTER (WHERE NOT is_today) AS n_before,
        SUM(x) FILTER (WHERE NOT is_today) AS x_before,
        -- How many times larger the variance of x is than a binomial one: photos of one shopper are unused together, and
        -- dates differ. From medians, which some bad dates do not change: that of chi2(1) is 0.455.
        GREATEST(
            1,
            (SELECT AVG(n_of_receipt) FROM matched),
            MEDIAN(POWER(x - n * share, 2) / NULLIF(n * share * (1 - share), 0)) FILTER (WHERE NOT is_today) / 0.455
        ) AS dispersion
    FROM dates
    GROUP BY store_id, fault
    HAVING
        SUM(n) FILTER (WHERE is_today) >= 10
        AND SUM(n) FILTER (WHERE NOT is_today) >= 50
),

tested AS (
    SELECT
        *,
        x / (x + x_before) AS part,
        n / (n + n_before) AS usual_part,
        COUNT(*) OVER () AS n_tests
    FROM stores
)

SELECT
    store_id,
    fault,
    n AS n_photos,
    CAST(x AS BIGINT) AS n_unused,
    ROUND(x / n, 3) AS unused_share,
    ROUND(x_before / n_before, 3) AS usual_share
FROM tested
WHERE
    x >= 0.05 * n
    AND x * n_before >= 2 * x_before * n
    AND part > usual_part
    -- If nothing changed, x of the x + x_before faults is hypergeometric; Hoeffding's bound of the probability of more.
    AND (x + x_before) * (
        part * LN(part / usual_part) + CASE WHEN part < 1 THEN (1 - part) * LN((1 - part) / (1 - usual_part)) ELSE 0 END
    ) / dispersion > LN(n_tests / 0.002)
ORDER BY store_id, fault
