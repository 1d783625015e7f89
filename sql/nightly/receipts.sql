-- Which receipts were delivered, who sold them, and how old is the shopper?
-- Grain: one row per receipt_id, with a number from 1, `receipt`, by store. Of different versions of a receipt, all of
-- them rejected, it is any one.
-- Units: hour of opening, 0-23, local time. age_years as estimated, null without a photo; age_year in completed years,
-- 100 and over as 100.
-- is_rejected: match_receipts has put the receipt into quarantine.
-- cashier_id: null at a till that is not staffed.
-- Parameters: $business_date, $time_zone (an IANA name).
WITH landed AS (
    SELECT DISTINCT ON (receipt_id) *
    FROM landing.receipts
    WHERE receipt_id IS NOT NULL
),

rejected AS (
    SELECT DISTINCT key
    FROM restricted.quarantine
    WHERE
        business_date = $business_date
        AND source_table = 'receipts'
),

ages AS (
    SELECT
        receipt_id,
        age_years,
        p_under_18
    FROM restricted.receipt_ages
    WHERE business_date = $business_date
)

SELECT
    CAST(ROW_NUMBER() OVER (ORDER BY landed.store_id) AS INTEGER) AS receipt,
    landed.receipt_id,
    landed.store_id,
    landed.till_id,
    landed.till_type IS NOT DISTINCT FROM 'staffed' AS is_staffed,
    CASE WHEN landed.till_type = 'staffed' THEN NULLIF(landed.cashier_id, '') END AS cashier_id,
    landed.opened_at,
    -- TRY: the time of a rejected receipt may have no hour.
    CAST(TRY(HOUR(landed.opened_at AT TIME ZONE $time_zone)) AS INTEGER) AS hour,
    landed.id_checked,
    rejected.key IS NOT NULL AS is_rejected,
    ages.age_years,
    ages.p_under_18,
    -- LEAST skips nulls.
    CASE WHEN ages.age_years IS NOT NULL THEN CAST(LEAST(100, FLOOR(ages.age_years + 0.5)) AS INTEGER) END AS age_year
FROM landed
LEFT JOIN rejected ON landed.receipt_id = rejected.key
LEFT JOIN ages ON landed.receipt_id = ages.receipt_id
