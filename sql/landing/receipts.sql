-- Which receipts of the landing zone can be used, and why not the others?
-- Grain: one row per different row of landing.receipts, so a row delivered twice is here once. reason, detail and key
-- (the key in quarantine) are null for a row that can be used; the first reason that applies counts.
-- Parameters: $business_date.
WITH versions AS (
    SELECT
        *,
        COUNT(*) OVER (PARTITION BY receipt_id) AS n_versions
    FROM (
        SELECT DISTINCT *
        FROM landing.receipts
    )
),

described AS (
    SELECT
        *,
        CONCAT_WS(
            ', ',
            CASE WHEN COALESCE(receipt_id, '') = '' THEN 'receipt_id' END,
            CASE WHEN COALESCE(store_id, '') = '' THEN 'store_id' END,
            CASE WHEN COALESCE(till_id, '') = '' THEN 'till_id' END,
            CASE WHEN COALESCE(till_type, '') = '' THEN 'till_type' END,
            CASE WHEN opened_at IS NULL THEN 'opened_at' END,
            CASE WHEN closed_at IS NULL THEN 'closed_at' END
        ) AS missing,
        -- Within two days, in any time zone. The usual cause is a clock that was reset to 1970.
        opened_at BETWEEN $business_date - INTERVAL 36 HOUR AND $business_date + INTERVAL 60 HOUR
        AND closed_at BETWEEN $business_date - INTERVAL 36 HOUR AND $business_date + INTERVAL 60 HOUR AS is_on_date
    FROM versions
),

judged AS (
    SELECT
        *,
        CASE
            WHEN missing <> '' THEN 'missing_value'
            WHEN NOT is_on_date THEN 'time_off_date'
            WHEN closed_at < opened_at THEN 'closes_before_it_opens'
            -- TRY: it may be computed for times that another rule rejects, which overflow.
            WHEN TRY(EPOCH_US(closed_at) - EPOCH_US(opened_at)) > 86400000000 THEN 'open_over_a_day'
            WHEN n_versions > 1 THEN 'conflicting_key'
        END AS reason
    FROM described
)

SELECT
    * EXCLUDE (n_versions, missing, is_on_date),
    CASE
        WHEN reason = 'missing_value' THEN missing
        WHEN reason = 'time_off_date' THEN CONCAT_WS(', ', opened_at, closed_at)
        WHEN reason = 'conflicting_key' THEN n_versions || ' versions'
        WHEN reason IS NOT NULL THEN FORMAT('opened {}, closed {}', opened_at::VARCHAR, closed_at::VARCHAR)
    END AS detail,
    CASE WHEN reason IS NOT NULL THEN COALESCE(receipt_id, '?') END AS key
FROM judged
