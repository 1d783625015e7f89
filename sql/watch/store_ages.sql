-- How many photos of each store have each estimated age?
-- Grain: one row per store and age_year. Units: photos; age_year in completed years, 100 and over as 100.
-- Parameters: $business_date.
SELECT
    store_id,
    CAST(LEAST(100, GREATEST(0, FLOOR(age_years + 0.5))) AS INTEGER) AS age_year,
    COUNT(*) AS n_photos
FROM restricted.photo_ages
WHERE
    business_date = $business_date
    AND age_years IS NOT NULL
GROUP BY store_id, age_year
ORDER BY store_id, age_year
