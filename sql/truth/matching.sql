-- How many photos and receipts were matched correctly?
-- A photo is matchable if it has an age and its true receipt is in the landing zone of the same date and does not close
-- before it opens. A receipt is matchable if it has such a photo. It is right if it has all of these and no other.
-- Grain: one row for photos, one for receipts. Units: photos or receipts; right_share: share of the matchable ones.
-- Parameters: $dates (list of business dates).
WITH readable AS (
    SELECT
        business_date,
        photo_id
    FROM restricted.photo_ages
    WHERE
        business_date IN (SELECT UNNEST(CAST($dates AS DATE[])))
        AND age_years IS NOT NULL
),

valid_receipts AS (
    -- A receipt delivered twice is one receipt.
    SELECT DISTINCT
        business_date,
        receipt_id
    FROM landing.receipts
    WHERE
        business_date IN (SELECT UNNEST(CAST($dates AS DATE[])))
        AND closed_at >= opened_at
),

matchable AS (
    SELECT
        readable.business_date,
        readable.photo_id,
        ages.receipt_id
    FROM readable
    INNER JOIN truth.ages ON readable.photo_id = ages.photo_id
    INNER JOIN valid_receipts
        ON
            readable.business_date = valid_receipts.business_date
            AND ages.receipt_id = valid_receipts.receipt_id
),

matched AS (
    SELECT
        business_date,
        receipt_id,
        UNNEST(photo_ids) AS photo_id
    FROM restricted.receipt_ages
    WHERE business_date IN (SELECT UNNEST(CAST($dates AS DATE[])))
),

photos AS (
    SELECT
        matchable.photo_id,
        COALESCE(BOOL_AND(matched.receipt_id = matchable.receipt_id), FALSE) AS is_right
    FROM matchable
    LEFT JOIN matched
        ON
            matchable.business_date = matched.business_date
            AND matchable.photo_id = matched.photo_id
    GROUP BY matchable.photo_id
),

receipts AS (
    SELECT
        matchable.receipt_id,
        LIST_SORT(LIST(matchable.photo_id)) AS true_photo_ids
    FROM matchable
    GROUP BY matchable.receipt_id
),

matched_receipts AS (
    SELECT
        receipt_id,
        LIST_SORT(LIST(photo_id)) AS photo_ids
    FROM matched
    GROUP BY receipt_id
)

SELECT
    'photos' AS unit,
    COUNT(*) AS n_matchable,
    COUNT(*) FILTER (WHERE is_right) AS n_right,
    COUNT(*) FILTER (WHERE is_right) / COUNT(*) AS right_share
FROM photos
UNION ALL
SELECT
    'receipts' AS unit,
    COUNT(*) AS n_matchable,
    COUNT(*) FILTER (WHERE photo_ids = true_photo_ids) AS n_right,
    COUNT(*) FILTER (WHERE photo_ids = true_photo_ids) / COUNT(*) AS right_share
FROM receipts
LEFT JOIN matched_receipts USING (receipt_id)
ORDER BY unit
