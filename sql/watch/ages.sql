-- How many photos have each estimated age, on the business date and on the 28 dates before?
-- Grain: one row per date and age_year, only of photos that the model of the business date scored.
-- Units: photos; age_year in completed years, 100 and over as 100; interval_sum and interval_squares: sum of the widths
-- of the intervals of the ages, years, and of their squares; null if the model has no intervals.
-- Parameters: $business_date.
SELECT
    business_date,
    CAST(LEAST(100, GREATEST(0, FLOOR(age_years + 0.5))) AS INTEGER) AS age_year,
    COUNT(*) AS n_photos,
    SUM(age_high - age_low) AS interval_sum,
    SUM(POWER(age_high - age_low, 2)) AS interval_squares
FROM restricted.photo_ages
WHERE
    business_date BETWEEN CAST($business_date AS DATE) - 28 AND CAST($business_date AS DATE)
    AND age_years IS NOT NULL
    AND model_version = (SELECT MAX(model_version) FROM restricted.photo_ages WHERE business_date = $business_date)
GROUP BY business_date, age_year
ORDER BY business_date, age_year
