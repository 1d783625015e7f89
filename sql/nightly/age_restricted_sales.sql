-- Which receipts with age-restricted goods were sold by a cashier to a buyer with a photo?
-- Grain: one row per receipt. Units: hour 0-23, local time; age_years as estimated.
-- Inputs: `receipt_goods`, the answer of nightly/receipt_goods.
SELECT
    receipt_id,
    store_id,
    till_id,
    cashier_id,
    opened_at,
    hour,
    goods,
    age_years
FROM receipt_goods
WHERE
    goods <> 'unrestricted'
    AND cashier_id IS NOT NULL
    AND age_years IS NOT NULL
