-- What is the estimated age of each photo?
-- Grain: one row per usable photo event, with the score of now, or else that of an earlier run of the same model.
-- Units: ages in years, rounded to hundredths; detail: why a photo is unreadable.
-- Inputs: `photo_events`, the usable rows of landing/photo_events; `scores`, one row for each photo of
-- nightly/photos_to_score.
-- Parameters: $business_date, $model_version.
WITH known AS (
    SELECT *
    FROM restricted.photo_ages
    WHERE
        business_date = $business_date
        AND model_version = $model_version
        AND status = 'scored'
),

ages AS (
    SELECT
        photo_id,
        ROUND(age_years, 2) AS age_years,
        ROUND(age_low, 2) AS age_low,
        ROUND(age_high, 2) AS age_high,
        p_under_18,
        p_under_25,
        status,
        reason,
        detail
    FROM scores
    UNION ALL
    SELECT
        photo_id,
        age_years,
        age_low,
        age_high,
        p_under_18,
        p_under_25,
        status,
        reason,
        NULL AS detail
    FROM known
    WHERE photo_id NOT IN (SELECT photo_id FROM scores)
)

SELECT
    events.photo_id,
    events.store_id,
    events.till_id,
    events.captured_at,
    ages.* EXCLUDE (photo_id),
    $model_version AS model_version
FROM photo_events AS events
INNER JOIN ages ON events.photo_id = ages.photo_id
