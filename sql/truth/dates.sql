-- For which dates are there photo ages to judge? Grain: one row per business date. Units: photos.
SELECT
    business_date,
    COUNT(*) AS n_photos
FROM restricted.photo_ages
GROUP BY business_date
ORDER BY business_date
