-- Which kind of goods does each receipt contain, who sold them, and what is the estimated age of the buyer?
-- Grain: one row per receipt.
-- Units: hour of opening, 0-23, local time. Ages and p_under_18 are null without a photo. Restricted receipts have
-- age_year, from 14 to 60; the others have age_capped, at most 60.
-- goods: 'alcohol' or 'other_restricted' if the net quantity of such a product is above zero; both: 'alcohol'.
-- cashier_id: null at a till that is not staffed.
-- Inputs: {receipts} usable receipts, {lines} usable lines, {products} usable products with the legal age as min_age,
-- {receipt_ages} receipts with an age, all of one date. The session's time zone is UTC.
-- Parameters: :time_zone, an IANA name.
WITH net AS (
    SELECT
        lines.receipt_id,
        lines.product_id,
        products.is_alcohol,
        -- As in nightly/baskets.
        SUM(CAST(CAST(ROUND(lines.quantity * 10000) AS BIGINT) AS DECIMAL(18, 0))) AS quantity
    FROM {lines} AS lines
    INNER JOIN {products} AS products ON lines.product_id = products.product_id
    WHERE products.min_age > 0
    GROUP BY lines.receipt_id, lines.product_id, products.is_alcohol
),

restricted AS (
    SELECT
        receipt_id,
        BOOL_OR(is_alcohol) AS has_alcohol
    FROM net
    WHERE quantity > 0
    GROUP BY receipt_id
),

sold AS (
    SELECT
        receipts.receipt_id,
        receipts.store_id,
        receipts.till_id,
        receipts.till_type <=> 'staffed' AS is_staffed,
        CASE WHEN receipts.till_type = 'staffed' THEN NULLIF(receipts.cashier_id, '') END AS cashier_id,
        receipts.opened_at,
        HOUR(FROM_UTC_TIMESTAMP(receipts.opened_at, :time_zone)) AS hour,
        CASE
            WHEN restricted.has_alcohol THEN 'alcohol'
            WHEN restricted.receipt_id IS NOT NULL THEN 'other_restricted'
            ELSE 'unrestricted'
        END AS goods,
        receipts.id_checked,
        receipt_ages.age_years,
        receipt_ages.p_under_18
    FROM {receipts} AS receipts
    LEFT JOIN restricted ON receipts.receipt_id = restricted.receipt_id
    LEFT JOIN {receipt_ages} AS receipt_ages ON receipts.receipt_id = receipt_ages.receipt_id
)

SELECT
    *,
    -- LEAST and GREATEST skip nulls.
    CASE
        WHEN goods != 'unrestricted' AND age_years IS NOT NULL
            THEN CAST(LEAST(60, GREATEST(14, FLOOR(age_years + 0.5))) AS INT)
    END AS age_year,
    CASE WHEN goods = 'unrestricted' AND age_years IS NOT NULL THEN LEAST(60, age_years) END AS age_capped
FROM sold
