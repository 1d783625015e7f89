-- Which errors of estimated ages are known for the model of a date?
-- Grain: one row per labelled photo. Units: years; age_years is the true age. source: held_out or kernel_photos.
-- Parameters: $business_date.
SELECT
    source,
    age_years,
    estimated_years
FROM restricted.age_errors
WHERE business_date = $business_date
ORDER BY age_years, estimated_years
