-- Which photos does the model have to score?
-- Grain: one row per usable photo event that this version of the model has not scored yet.
-- Inputs: `photo_events`, the usable rows of landing/photo_events.
-- Parameters: $business_date, $model_version.
SELECT
    photo_id,
    path
FROM photo_events
ANTI JOIN (
    SELECT photo_id
    FROM restricted.photo_ages
    WHERE
        business_date = $business_date
        AND model_version = $model_version
        AND status = 'scored'
) AS known ON photo_events.photo_id = known.photo_id
