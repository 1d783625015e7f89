-- Does every receipt have an age within the band it was given? A band is named by its bounds, in completed
-- years to which an estimate is rounded: `under_18` is 0 to 17, `18-29` ends below 29.5, `60_plus` with 120.
-- Grain: one row per receipt without an age, without a readable band, or outside its band. Units: years.
-- Parameters: $business_date.
WITH bounded AS (
    SELECT
        receipt_id,
        age_years,
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
    FROM restricted.receipt_ages
    WHERE business_date = $business_date
)

SELECT
    receipt_id,
    age_years,
    age_band
FROM bounded
WHERE (ROUND(age_years) >= from_years AND ROUND(age_years) < below_years) IS NOT TRUE
ORDER BY receipt_id
