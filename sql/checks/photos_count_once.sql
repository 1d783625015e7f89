-- Does each photo belong to at most one receipt, and does each receipt list only readable photos and their number?
-- Grain: one row per receipt and photo at fault. offence: `shared`: by several receipts, or listed twice by one;
-- `without_age`: not among the readable photos of the date; `miscounted`: n_photos is not the length of the list.
-- Parameters: $business_date.
WITH receipts AS (
    SELECT *
    FROM restricted.receipt_ages
    WHERE business_date = $business_date
),

claims AS (
    SELECT
        receipt_id,
        UNNEST(photo_ids) AS photo_id
    FROM receipts
),

readable AS (
    SELECT photo_id
    FROM restricted.photo_ages
    WHERE
        business_date = $business_date
        AND age_years IS NOT NULL
),

offences AS (
    SELECT
        receipt_id,
        photo_id,
        'shared' AS offence
    FROM claims
    QUALIFY COUNT(*) OVER (PARTITION BY photo_id) > 1
    UNION ALL
    SELECT
        claims.receipt_id,
        claims.photo_id,
        'without_age' AS offence
    FROM claims
    ANTI JOIN readable ON claims.photo_id = readable.photo_id
    UNION ALL
    SELECT
        receipt_id,
        NULL AS photo_id,
        'miscounted' AS offence
    FROM receipts
    WHERE (n_photos = LEN(photo_ids) AND n_photos > 0) IS NOT TRUE
)

SELECT *
FROM offences
ORDER BY receipt_id, photo_id, offence
