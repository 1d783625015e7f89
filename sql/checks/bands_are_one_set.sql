-- Do all tables of the date use one set of age bands, none of which overlap? (`under_18` is 0 to 17, `18-29`
-- includes 29, `60_plus` ends with 120.) A band nobody belonged to on the date may be absent.
-- Grain: one row per band that cannot be read or overlaps the next older one. Units: years.
-- Parameters: $business_date.
WITH bands AS (
    SELECT age_band
    FROM restricted.receipt_ages
    WHERE business_date = $business_date
    UNION
    SELECT age_band
    FROM restricted.daily_counts
    WHERE business_date = $business_date
    UNION
    SELECT age_band
    FROM analytics.age_product_affinity
    WHERE business_date = $business_date
    UNION
    SELECT age_band
    FROM analytics.age_category_affinity
    WHERE business_date = $business_date
),

bounded AS (
    SELECT
        age_band,
        CASE
            WHEN age_band LIKE 'under\_%' ESCAPE '\' THEN 0
            ELSE TRY_CAST(REGEXP_EXTRACT(age_band, '^([0-9]+)(-[0-9]+|_plus)$', 1) AS INTEGER)
        END AS from_years,
        CASE
            WHEN age_band LIKE '%\_plus' ESCAPE '\' THEN 121
            WHEN age_band LIKE 'under\_%' ESCAPE '\'
                THEN TRY_CAST(REGEXP_EXTRACT(age_band, '^under_([0-9]+)$', 1) AS INTEGER)
            ELSE TRY_CAST(REGEXP_EXTRACT(age_band, '^[0-9]+-([0-9]+)$', 1) AS INTEGER) + 1
        END AS below_years
    FROM bands
),

followed AS (
    SELECT
        age_band,
        from_years,
        below_years,
        LEAD(age_band) OVER by_age AS next_band,
        LEAD(from_years) OVER by_age AS next_from_years
    FROM bounded
    WINDOW by_age AS (ORDER BY from_years NULLS LAST, below_years)
)

SELECT
    age_band,
    from_years,
    below_years,
    next_band
FROM followed
WHERE
    (from_years < below_years) IS NOT TRUE
    OR below_years > next_from_years
ORDER BY from_years, age_band
