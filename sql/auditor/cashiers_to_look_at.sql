-- At which cashiers' receipts should an auditor look, and why?
-- Grain: one row per cashier on watch or in review, ordered by store and cashier. The order is no ranking.
-- Units: checks_* in checks of a document; checks_ratio: made / expected; checks_ratio_shrunk: the same, moved towards
-- the colleagues as far as chance requires, with its 95 % interval ratio_low to ratio_high. Below limit_low_95 and
-- limit_low_998 checks are 2.5 % and 0.1 % of cashiers who differ as usual. q_value: expected share of false alarms among
-- cashiers with at most this value; null: not tested. control_shift_years: how much older or younger the buyers of
-- unrestricted goods look than those of colleagues; a large shift means that camera or clientele differ.
-- n_windows_signalled: on how many of the dates D, D-7, D-14 the cashier was on watch or in review (1 to 3). Windows of
-- 28 days overlap, so they signal together.
-- Parameters: $business_date, $window_days.
WITH signals AS (
    SELECT
        store_id,
        cashier_id,
        COUNT(*) AS n_windows_signalled
    FROM restricted.cashier_screening
    WHERE
        business_date IN (
            CAST($business_date AS DATE), CAST($business_date AS DATE) - 7, CAST($business_date AS DATE) - 14
        )
        AND window_days = CAST($window_days AS INTEGER)
        AND status IN ('watch', 'review')
    GROUP BY store_id, cashier_id
)

SELECT
    screening.store_id,
    screening.cashier_id,
    screening.status,
    ARRAY_TO_STRING(screening.reasons, ', ') AS reasons,
    signals.n_windows_signalled,
    screening.n_days,
    screening.n_restricted,
    screening.n_with_photo,
    screening.checks_made,
    ROUND(screening.checks_expected, 1) AS checks_expected,
    ROUND(screening.checks_ratio, 2) AS checks_ratio,
    ROUND(screening.checks_ratio_shrunk, 2) AS checks_ratio_shrunk,
    ROUND(screening.ratio_low, 2) AS ratio_low,
    ROUND(screening.ratio_high, 2) AS ratio_high,
    ROUND(screening.limit_low_95, 1) AS limit_low_95,
    ROUND(screening.limit_low_998, 1) AS limit_low_998,
    ROUND(screening.q_value, 3) AS q_value,
    ROUND(screening.control_shift_years, 1) AS control_shift_years,
    screening.control_flag,
    screening.n_tested,
    screening.caveat
FROM restricted.cashier_screening AS screening
INNER JOIN signals
    ON
        screening.store_id = signals.store_id
        AND screening.cashier_id = signals.cashier_id
WHERE
    screening.business_date = $business_date
    AND screening.window_days = CAST($window_days AS INTEGER)
    AND screening.status IN ('watch', 'review')
ORDER BY screening.store_id, screening.cashier_id
