-- How old is the shopper of each receipt?
-- Grain: one row per usable receipt with a photo. A photo belongs to at most one receipt, the nearest in time.
-- Units: ages in years, the median of the photos; photo_ids in the order of their text.
-- A photo belongs to a receipt of its store and till if it was taken between opening and closing, plus or minus the
-- grace period. The nearest receipt has the smallest gap (0 between opening and closing), then the nearest middle, then
-- the smallest receipt_id.
-- Inputs: `receipts`, the usable rows of landing/receipts.
-- Parameters: $business_date, $grace_seconds.
WITH intervals AS (
    SELECT
        receipt_id,
        store_id,
        till_id,
        EPOCH_US(opened_at) AS opened,
        EPOCH_US(closed_at) AS closed,
        CAST(ROUND($grace_seconds * 1000000) AS BIGINT) AS grace
    FROM receipts
),

-- Joined by till and ten minutes, so that the join grows linearly.
slots AS (
    SELECT
        *,
        UNNEST(RANGE((opened - grace) // 600000000, (closed + grace) // 600000000 + 1)) AS slot
    FROM intervals
),

photos AS (
    SELECT
        photo_id,
        store_id,
        till_id,
        EPOCH_US(captured_at) AS captured,
        captured // 600000000 AS slot,
        age_years,
        p_under_18,
        p_under_25
    FROM restricted.photo_ages
    WHERE
        business_date = $business_date
        AND status = 'scored'
),

matched AS (
    SELECT
        photos.*,
        slots.receipt_id
    FROM photos
    INNER JOIN slots
        ON
            photos.store_id = slots.store_id
            AND photos.till_id = slots.till_id
            AND photos.slot = slots.slot
            AND photos.captured BETWEEN slots.opened - slots.grace AND slots.closed + slots.grace
    QUALIFY
        ROW_NUMBER() OVER (
            PARTITION BY photos.photo_id
            ORDER BY
                GREATEST(slots.opened - photos.captured, photos.captured - slots.closed, 0),
                ABS(2 * photos.captured - slots.opened - slots.closed),
                slots.receipt_id
        ) = 1
),

counted AS (
    SELECT
        *,
        COUNT(*) OVER (PARTITION BY receipt_id) AS n_photos
    FROM matched
)

-- Most receipts have one photo, which needs no median.
SELECT
    receipt_id,
    store_id,
    till_id,
    age_years,
    1 AS n_photos,
    [photo_id] AS photo_ids,
    p_under_18,
    p_under_25
FROM counted
WHERE n_photos = 1
UNION ALL
SELECT
    receipt_id,
    store_id,
    till_id,
    MEDIAN(age_years) AS age_years,
    COUNT(*)::INTEGER AS n_photos,
    LIST(photo_id ORDER BY photo_id) AS photo_ids,
    MEDIAN(p_under_18) AS p_under_18,
    MEDIAN(p_under_25) AS p_under_25
FROM counted
WHERE n_photos > 1
GROUP BY receipt_id, store_id, till_id
