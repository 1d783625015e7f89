-- How many receipts have a photo, and how many photos have no receipt?
-- Grain: one row.
-- Inputs: `receipt_ages`, the answer of nightly/receipt_ages.
-- Parameters: $business_date.
SELECT
    COUNT(*) AS receipts_matched,
    (
        SELECT COUNT(*)
        FROM restricted.photo_ages
        WHERE
            business_date = $business_date
            AND status = 'scored'
    ) - COALESCE(SUM(n_photos), 0)::BIGINT AS photos_unmatched
FROM receipt_ages
