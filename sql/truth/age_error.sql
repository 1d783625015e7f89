-- How large is the error of the estimated ages, compared with that of the best constant?
-- Grain: one row. Units: photos; mean absolute errors and the constant (median of the true ages) in years.
-- Parameters: $dates (list of business dates).
WITH compared AS (
    SELECT
        photo_ages.age_years,
        ages.true_age
    FROM restricted.photo_ages
    INNER JOIN truth.ages ON photo_ages.photo_id = ages.photo_id
    WHERE
        photo_ages.business_date IN (SELECT UNNEST(CAST($dates AS DATE[])))
        AND photo_ages.age_years IS NOT NULL
),

constant AS (
    SELECT MEDIAN(true_age) AS guess_years
    FROM compared
)

SELECT
    COUNT(*) AS n_photos,
    AVG(ABS(compared.age_years - compared.true_age)) AS mae_years,
    AVG(ABS(constant.guess_years - compared.true_age)) AS mae_of_constant_years,
    ANY_VALUE(constant.guess_years) AS constant_years
FROM compared
CROSS JOIN constant
