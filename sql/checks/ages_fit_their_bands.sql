-- Is the age of every receipt, rounded to completed years, within its band?
-- Grain: one row per receipt without an age, with a band that is not among the bands of the date, or with an age
-- outside its band. Units: years.
-- Parameters: $business_date.
WITH receipts AS (
    SELECT
        receipt_id,
        age_years,
        age_band
    FROM restricted.receipt_ages
    WHERE business_date = $business_date
),

bands AS (
    SELECT
        age_band,
        from_years,
        to_years
    FROM analytics.age_bands
    WHERE business_date = $business_date
)

SELECT
    receipts.receipt_id,
    receipts.age_years,
    receipts.age_band,
    bands.from_years,
    bands.to_years
FROM receipts
LEFT JOIN bands USING (age_band)
WHERE (ROUND(receipts.age_years) BETWEEN bands.from_years AND bands.to_years) IS NOT TRUE
ORDER BY receipts.receipt_id
