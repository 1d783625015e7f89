-- Were at least half of the photos readable? A night of broken cameras has few receipts with an age, and
-- affinities that look no different from those of other nights.
-- Grain: one row for the date if not. Units: photos. Parameters: $business_date.
SELECT
    COUNT(*) AS n_photos,
    COUNT(age_years) AS n_readable
FROM restricted.photo_ages
WHERE business_date = $business_date
HAVING COUNT(age_years) < 0.5 * COUNT(*)
