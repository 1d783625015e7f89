-- Which photo events of the landing zone can be used, and why not the others?
-- Grain: one row per different row of landing.photo_events, so a row delivered twice is here once. reason, detail and
-- key (the key in quarantine) are null for a row that can be used; the first reason that applies counts.
-- Of the usable events with one path, the earliest is used.
-- Parameters: $business_date.
WITH stores AS (
    SELECT DISTINCT store_id
    FROM landing.receipts
    WHERE store_id IS NOT NULL
),

versions AS (
    SELECT
        events.*,
        stores.store_id IS NOT NULL AS is_store_known,
        COUNT(*) OVER (PARTITION BY events.photo_id) AS n_versions
    FROM (
        SELECT DISTINCT *
        FROM landing.photo_events
    ) AS events
    LEFT JOIN stores ON events.store_id = stores.store_id
),

described AS (
    SELECT
        *,
        CONCAT_WS(
            ', ',
            CASE WHEN COALESCE(photo_id, '') = '' THEN 'photo_id' END,
            CASE WHEN COALESCE(store_id, '') = '' THEN 'store_id' END,
            CASE WHEN COALESCE(till_id, '') = '' THEN 'till_id' END,
            CASE WHEN COALESCE(path, '') = '' THEN 'path' END
        ) AS missing,
        -- Within two days, in any time zone. The usual cause is a clock that was reset to 1970.
        captured_at BETWEEN $business_date - INTERVAL 36 HOUR AND $business_date + INTERVAL 60 HOUR AS is_on_date,
        -- Relative, without `..`, an empty part, a scheme, or a backslash, which bytes that are no text have too.
        LENGTH(path) <= 1024
        AND NOT REGEXP_MATCHES(path, '^~|^/|(^|/)\.{0,2}(/|$)|:/|[\\\x00-\x1f]|^\s*$') AS is_path_safe
    FROM versions
),

judged AS (
    SELECT
        *,
        CASE
            WHEN missing <> '' THEN 'missing_value'
            WHEN captured_at IS NULL THEN 'no_capture_time'
            WHEN NOT is_on_date THEN 'time_off_date'
            WHEN NOT is_path_safe THEN 'path_outside_landing'
            WHEN NOT is_store_known THEN 'unknown_store'
            WHEN n_versions > 1 THEN 'conflicting_key'
        END AS reason_of_row
    FROM described
),

ranked AS (
    SELECT
        *,
        CASE
            WHEN
                reason_of_row IS NULL
                AND ROW_NUMBER() OVER (
                    PARTITION BY reason_of_row IS NULL, path ORDER BY captured_at, photo_id
                ) > 1 THEN 'path_repeated'
            ELSE reason_of_row
        END AS reason
    FROM judged
)

SELECT
    * EXCLUDE (is_store_known, n_versions, missing, is_on_date, is_path_safe, reason_of_row),
    CASE reason
        WHEN 'missing_value' THEN missing
        WHEN 'no_capture_time' THEN 'captured_at is null'
        WHEN 'time_off_date' THEN captured_at::VARCHAR
        WHEN 'path_outside_landing' THEN 'path is not below the landing zone'
        WHEN 'unknown_store' THEN FORMAT('store {} has no receipt on the date', store_id)
        WHEN 'conflicting_key' THEN n_versions || ' versions'
        WHEN 'path_repeated' THEN 'another row has this path, and is earlier'
    END AS detail,
    CASE WHEN reason IS NOT NULL THEN COALESCE(photo_id, '?') END AS key
FROM ranked
