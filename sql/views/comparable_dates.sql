-- Which dates have the same age bands as a business date, so that their counts can be added?
-- Grain: one row per business date and comparable date, from a year earlier up to the date itself.
WITH bands AS (
    SELECT
        business_date,
        age_band,
        from_years,
        to_years,
        COUNT(*) OVER (PARTITION BY business_date) AS n_bands
    FROM analytics.age_bands
)

SELECT
    later.business_date,
    earlier.business_date AS comparable_date
FROM bands AS later
INNER JOIN bands AS earlier USING (age_band, from_years, to_years, n_bands)
WHERE earlier.business_date BETWEEN later.business_date - 365 AND later.business_date
GROUP BY later.business_date, earlier.business_date
HAVING COUNT(*) = ANY_VALUE(n_bands)
ORDER BY later.business_date, comparable_date
