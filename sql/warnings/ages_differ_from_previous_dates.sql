-- Do the estimated ages of the chain, or the widths of their intervals, differ from the 28 dates before more than dates
-- usually differ? Other shoppers, such as on the first Sunday, are a reason too; ages_no_mix_explains tells cameras
-- apart.
-- Grain: one row per measure of watch_ages above its limit. measure: psi_previous, population stability index;
-- wasserstein_previous_years; interval_change_years, the difference of the mean widths.
-- Parameters: $business_date.
SELECT
    today.measure,
    today.value,
    limits.value AS limit_value
FROM analytics.run_quality AS today
INNER JOIN analytics.run_quality AS limits ON limits.measure = today.measure || '_limit'
WHERE
    today.business_date = $business_date
    AND limits.business_date = $business_date
    AND today.job = 'watch_ages'
    AND limits.job = 'watch_ages'
    AND today.measure NOT LIKE '%misfit%'
    AND today.value > limits.value
ORDER BY today.measure
