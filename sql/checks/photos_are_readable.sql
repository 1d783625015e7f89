-- Were at least half of the photos readable? If cameras fail, few receipts have an age, but the affinities look normal.
-- Grain: one row for the date if fewer were. Units: photos. Parameters: $business_date.
SELECT
    COUNT(*) AS n_photos,
    COUNT(age_years) AS n_readable
FROM restricted.photo_ages
WHERE business_date = $business_date
HAVING COUNT(age_years) < 0.5 * COUNT(*)
