-- Are there estimated ages that no mix of true ages explains, so that a camera or the model is wrong, not the shoppers?
-- Grain: one row per measure of watch_ages above its limit, in standard deviations of its noise. measure: misfit, of
-- the chain; store_misfit, of the store with the largest one.
-- Parameters: $business_date.
SELECT
    today.measure,
    today.value,
    limits.value AS limit_value,
    stores.text AS store_id
FROM analytics.run_quality AS today
INNER JOIN analytics.run_quality AS limits ON limits.measure = today.measure || '_limit'
LEFT JOIN (
    SELECT
        'store_misfit' AS measure,
        text
    FROM analytics.run_quality
    WHERE
        business_date = $business_date
        AND job = 'watch_ages'
        AND measure = 'store_misfit_of'
) AS stores ON today.measure = stores.measure
WHERE
    today.business_date = $business_date
    AND limits.business_date = $business_date
    AND today.job = 'watch_ages'
    AND limits.job = 'watch_ages'
    AND today.measure IN ('misfit', 'store_misfit')
    AND today.value > limits.value
ORDER BY today.measure
