-- Does every offer follow from a notable cell of the longest window, and may it be made to its age band?
-- Grain: one row per offer that violates a rule. `violated` names the rules: `window`: not the window of 28 days;
-- `band`: a band that begins below 18, or is unknown; `legal_age`: a product with a legal age, offered to a band that
-- begins below 30; `cell`: no notable cell with an interval above 100; `figures`: not those of the cell; `rank`: a gap,
-- or a higher index than the rank before; `repeated`: the product is offered twice to the band; `reason`: no sentence.
-- Parameters: $business_date.
WITH bands AS (
    SELECT *
    FROM analytics.age_bands
    WHERE business_date = $business_date
),

cells AS (
    SELECT *
    FROM analytics.age_product_affinity
    WHERE business_date = $business_date
),

products AS (
    SELECT
        product_id,
        ARG_MAX_NULL(min_age, business_date) AS min_age
    FROM restricted.catalogue
    WHERE business_date BETWEEN CAST($business_date AS DATE) - 27 AND $business_date
    GROUP BY product_id
),

offers AS (
    SELECT
        *,
        ROW_NUMBER() OVER by_rank AS expected_rank,
        LAG(affinity_index) OVER by_rank AS previous_index,
        COUNT(*) OVER (PARTITION BY age_band, product_id) AS n_offers
    FROM analytics.age_offers
    WHERE business_date = $business_date
    WINDOW by_rank AS (PARTITION BY age_band ORDER BY rank)
),

violations AS (
    SELECT
        offers.age_band,
        offers.rank,
        offers.product_id,
        -- IS NOT TRUE reports a null too.
        CONCAT_WS(
            ', ',
            CASE WHEN (offers.window_days = 28) IS NOT TRUE THEN 'window' END,
            CASE WHEN (bands.from_years >= 18) IS NOT TRUE THEN 'band' END,
            CASE WHEN products.min_age > 0 AND bands.from_years < 30 THEN 'legal_age' END,
            CASE WHEN (cells.is_notable AND cells.index_low > 100) IS NOT TRUE THEN 'cell' END,
            CASE
                WHEN
                    (offers.product_name, offers.category, offers.department, offers.affinity_index, offers.index_low)
                    IS DISTINCT FROM
                    (cells.product_name, cells.category, cells.department, cells.affinity_index, cells.index_low)
                    OR (offers.index_high, offers.penetration) IS DISTINCT FROM (cells.index_high, cells.penetration)
                    THEN 'figures'
            END,
            CASE
                WHEN
                    (
                        offers.rank = offers.expected_rank
                        AND COALESCE(offers.affinity_index <= offers.previous_index, TRUE)
                    ) IS NOT TRUE
                    THEN 'rank'
            END,
            CASE WHEN offers.n_offers > 1 THEN 'repeated' END,
            CASE WHEN (TRIM(offers.reason) <> '') IS NOT TRUE THEN 'reason' END
        ) AS violated
    FROM offers
    LEFT JOIN bands USING (age_band)
    LEFT JOIN products USING (product_id)
    LEFT JOIN cells
        ON
            offers.window_days = cells.window_days
            AND offers.age_band = cells.age_band
            AND offers.product_id = cells.product_id
)

SELECT *
FROM violations
WHERE violated <> ''
ORDER BY age_band, rank, product_id
