-- Do the age bands of the date tile 0 to 120, and do the published tables of the date use only these bands?
-- Grain: one row per band that violates a rule. `violated`: `gap` (or overlap) between this band and the one before;
-- `end`: the last band does not end at 120; `unknown`: not a band of the date. Units: years.
-- Parameters: $business_date.
WITH bands AS (
    SELECT
        age_band,
        from_years,
        to_years,
        LAG(to_years, 1, -1) OVER by_age AS previous_to_years,
        LEAD(from_years) OVER by_age AS next_from_years
    FROM analytics.age_bands
    WHERE business_date = $business_date
    WINDOW by_age AS (ORDER BY from_years, to_years)
),

used AS (
    SELECT age_band
    FROM analytics.age_affinity
    WHERE business_date = $business_date
    UNION
    SELECT age_band
    FROM analytics.age_offers
    WHERE business_date = $business_date
)

SELECT
    age_band,
    bands.from_years,
    bands.to_years,
    CASE
        WHEN bands.from_years IS NULL THEN 'unknown'
        WHEN bands.from_years <> bands.previous_to_years + 1 OR bands.to_years < bands.from_years THEN 'gap'
        WHEN bands.next_from_years IS NULL AND bands.to_years <> 120 THEN 'end'
    END AS violated
FROM bands
FULL OUTER JOIN used USING (age_band)
WHERE violated IS NOT NULL
ORDER BY bands.from_years, age_band
