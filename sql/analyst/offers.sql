-- Which products should be offered to an age band?
-- Grain: one row per product, the highest index first. Products are notable in the window of 28 days, were sold in its
-- last seven dates, and at most a few belong to one category. Bands of minors have no rows. sentence: the figures in
-- words.
-- Units: affinity_index: 100 = the average of all shoppers, corrected for the errors of estimated ages; index_low,
-- index_high: its 95 % interval; penetration: share of the band's receipts with the product.
-- Parameters: $band (such as 18-29), $business_date.
SELECT
    rank,
    product_id,
    product_name,
    category,
    affinity_index,
    index_low,
    index_high,
    ROUND(penetration, 4) AS penetration,
    reason AS sentence
FROM analytics.age_offers
WHERE
    business_date = $business_date
    AND age_band = $band
ORDER BY rank
