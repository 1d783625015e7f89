-- Which dates have photo ages? Grain: one row per business date. Units: photos.
SELECT
    business_date,
    COUNT(*) AS n_photos
FROM restricted.photo_ages
GROUP BY business_date
ORDER BY business_date
