-- Which kind of goods does each usable receipt contain, who sold them, and what is the estimated age of the buyer?
-- Grain: one row per receipt.
-- Units: hour of opening, 0-23, local time. Ages and p_under_18 are null without a photo. Restricted receipts have
-- age_year, from 14 to 60; the others have age_capped, at most 60.
-- goods: 'alcohol' or 'other_restricted' if the net quantity of such a product is above zero; both: 'alcohol'.
-- cashier_id: null at a till that is not staffed.
-- Inputs: `receipts` and `restricted_receipts`, the answers of nightly/receipts and nightly/restricted_receipts.
WITH sold AS (
    SELECT
        receipts.* EXCLUDE (receipt, is_rejected, age_year),
        CASE
            WHEN restricted.has_alcohol THEN 'alcohol'
            WHEN restricted.receipt IS NOT NULL THEN 'other_restricted'
            ELSE 'unrestricted'
        END AS goods
    FROM receipts
    LEFT JOIN restricted_receipts AS restricted ON receipts.receipt = restricted.receipt
    WHERE NOT receipts.is_rejected
)

SELECT
    *,
    CASE
        WHEN goods <> 'unrestricted' AND age_years IS NOT NULL
            THEN CAST(LEAST(60, GREATEST(14, FLOOR(age_years + 0.5))) AS INTEGER)
    END AS age_year,
    -- LEAST skips nulls.
    CASE WHEN goods = 'unrestricted' AND age_years IS NOT NULL THEN LEAST(60, age_years) END AS age_capped
FROM sold
