-- What could the screening find at all, given how many restricted sales a cashier has?
-- Grain: one row per class of cashiers by screened sales in the window: restricted sales with a photo and a known check.
-- Units: n_cashiers, n_tested in cashiers; detectable_ratio: median over the cashiers of the class of the largest ratio of
-- checks made to checks expected that would be below limit_low_998 in 80 % of cases; null: no ratio would, not even 0.
-- Parameters: $business_date, $window_days.
WITH classes AS (
    SELECT *
    FROM (
        VALUES
            (0, '0 to 4'),
            (5, '5 to 14'),
            (15, '15 to 49'),
            (50, '50 to 199'),
            (200, '200 to 499'),
            (500, '500 and more')
    ) AS classes (first_n, sales)
),

cashiers AS (
    SELECT
        screening.*,
        (SELECT MAX(first_n) FROM classes WHERE first_n <= screening.n_with_photo) AS first_n
    FROM restricted.cashier_screening AS screening
    WHERE
        business_date = $business_date
        AND window_days = CAST($window_days AS INTEGER)
),

figures AS (
    SELECT
        first_n,
        COUNT(*) AS n_cashiers,
        COUNT(q_value) AS n_tested,
        COUNT(detectable_ratio) AS n_detectable,
        -- A cashier at whom nothing can be found counts as a ratio below 0.
        MEDIAN(COALESCE(detectable_ratio, -1)) AS detectable_ratio,
        MAX(caveat) AS caveat
    FROM cashiers
    GROUP BY first_n
)

SELECT
    classes.sales,
    figures.n_cashiers,
    figures.n_tested,
    CASE WHEN figures.detectable_ratio >= 0 THEN ROUND(figures.detectable_ratio, 2) END AS detectable_ratio,
    CASE
        WHEN figures.detectable_ratio >= 0
            THEN
                'Of cashiers who make at most ' || CAST(ROUND(100 * figures.detectable_ratio) AS INTEGER)
                || ' % of the expected checks, about 80 % would fall below the 99.8 % limit. The watch list begins earlier.'
        WHEN figures.n_detectable > 0
            THEN 'Most of these cashiers would not fall below the 99.8 % limit reliably, not even without any check.'
        ELSE 'None of them would fall below the 99.8 % limit reliably, not even without any check.'
    END AS in_words,
    figures.caveat
FROM figures
INNER JOIN classes ON figures.first_n = classes.first_n
ORDER BY figures.first_n
