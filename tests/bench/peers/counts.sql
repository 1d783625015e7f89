-- What each year of age buys on one date, and the naive index of five age bands: the tables receipt_ages, daily_counts
-- and affinity. Every row is taken as usable, so this is a floor for the jobs, which check the rows.
-- Variables: landing and photo_ages (paths), date. Quantities and amounts are summed as whole ten-thousandths.
CREATE TABLE receipts AS
SELECT
    ROW_NUMBER() OVER () AS receipt,
    receipt_id,
    store_id,
    till_id,
    EPOCH_US(opened_at) AS opened,
    EPOCH_US(closed_at) AS closed
FROM READ_PARQUET(GETVARIABLE('landing') || '/receipts/business_date=' || GETVARIABLE('date') || '/*.parquet');

-- Receipts and photos meet by till and ten-minute slot: a join by till alone compares 75 times as many pairs.
CREATE TABLE matched AS
WITH photos AS (
    SELECT *, EPOCH_US(captured_at) AS captured
    FROM READ_PARQUET(GETVARIABLE('photo_ages') || '/**/*.parquet')
    WHERE status = 'scored'
),

slotted AS (
    SELECT
        *,
        UNNEST(RANGE((opened - 5_000_000) // 600_000_000, (closed + 5_000_000) // 600_000_000 + 1)) AS slot
    FROM receipts
)

SELECT
    photos.photo_id,
    photos.age_years,
    photos.p_under_18,
    photos.p_under_25,
    slotted.receipt
FROM photos
INNER JOIN slotted
    ON
        photos.store_id = slotted.store_id
        AND photos.till_id = slotted.till_id
        AND photos.captured // 600_000_000 = slotted.slot
        AND photos.captured BETWEEN slotted.opened - 5_000_000 AND slotted.closed + 5_000_000
QUALIFY
    ROW_NUMBER() OVER (
        PARTITION BY photos.photo_id
        ORDER BY
            GREATEST(slotted.opened - photos.captured, photos.captured - slotted.closed, 0),
            ABS(2 * photos.captured - slotted.opened - slotted.closed),
            slotted.receipt_id
    ) = 1;

CREATE TABLE aged AS
SELECT
    receipt,
    MEDIAN(age_years) AS age_years,
    COUNT(*)::INTEGER AS n_photos,
    LIST(photo_id ORDER BY photo_id) AS photo_ids,
    MEDIAN(p_under_18) AS p_under_18,
    MEDIAN(p_under_25) AS p_under_25
FROM matched
GROUP BY receipt;

CREATE TABLE receipt_ages AS
SELECT receipt_id, store_id, till_id, aged.* EXCLUDE (receipt)
FROM aged
INNER JOIN receipts USING (receipt);

CREATE TABLE products AS
SELECT ROW_NUMBER() OVER () AS product, product_id, category, department
FROM READ_PARQUET(GETVARIABLE('landing') || '/products/*.parquet');

-- The net figures of each receipt and product, with short integers as keys.
CREATE TABLE bought AS
WITH buyers AS (
    SELECT receipt_id, receipt, LEAST(100, FLOOR(age_years + 0.5))::INTEGER AS age_year
    FROM aged
    INNER JOIN receipts USING (receipt)
)

SELECT
    buyers.receipt,
    buyers.age_year,
    products.product,
    SUM(ROUND(lines.quantity * 10000)::BIGINT) AS quantity,
    SUM(ROUND(lines.amount * 10000)::BIGINT) AS amount
FROM READ_PARQUET(
    GETVARIABLE('landing') || '/receipt_lines/business_date=' || GETVARIABLE('date') || '/*.parquet'
) AS lines
INNER JOIN buyers USING (receipt_id)
INNER JOIN products USING (product_id)
GROUP BY buyers.receipt, buyers.age_year, products.product;

CREATE TABLE daily_counts AS
WITH counted AS (
    SELECT
        age_year,
        'product' AS level,
        product_id AS item,
        COUNT(*) FILTER (WHERE quantity > 0) AS n_receipts,
        SUM(quantity) AS quantity,
        SUM(amount) AS amount
    FROM bought
    INNER JOIN products USING (product)
    GROUP BY age_year, product_id

    UNION ALL

    SELECT age_year, level, item, COUNT(*) FILTER (WHERE quantity > 0), SUM(quantity), SUM(amount)
    FROM (
        SELECT age_year, 'category' AS level, category AS item, SUM(quantity) AS quantity, SUM(amount) AS amount
        FROM bought
        INNER JOIN products USING (product)
        GROUP BY receipt, age_year, category

        UNION ALL

        SELECT age_year, 'department', department, SUM(quantity), SUM(amount)
        FROM bought
        INNER JOIN products USING (product)
        GROUP BY receipt, age_year, department
    )
    GROUP BY age_year, level, item

    UNION ALL

    SELECT age_year, 'all', '', COUNT(*), SUM(quantity), SUM(amount)
    FROM (
        SELECT LEAST(100, FLOOR(aged.age_years + 0.5))::INTEGER AS age_year, totals.quantity, totals.amount
        FROM aged
        LEFT JOIN (
            SELECT receipt, SUM(quantity) AS quantity, SUM(amount) AS amount
            FROM bought
            GROUP BY receipt
        ) AS totals USING (receipt)
    )
    GROUP BY age_year
)

SELECT
    age_year,
    level,
    item,
    n_receipts::BIGINT AS n_receipts,
    COALESCE(quantity, 0)::DOUBLE / 10000 AS quantity,
    COALESCE(amount, 0)::DOUBLE / 10000 AS amount
FROM counted;

CREATE TABLE affinity AS
WITH banded AS (
    SELECT
        level,
        item,
        CASE
            WHEN age_year < 18 THEN 'under_18'
            WHEN age_year < 30 THEN '18-29'
            WHEN age_year < 45 THEN '30-44'
            WHEN age_year < 60 THEN '45-59'
            ELSE '60_plus'
        END AS age_band,
        SUM(n_receipts) AS n_receipts
    FROM daily_counts
    GROUP BY ALL
),

shares AS (
    SELECT
        items.level,
        items.item,
        items.age_band,
        items.n_receipts,
        items.n_receipts / bands.n_receipts AS penetration,
        SUM(items.n_receipts) OVER (PARTITION BY items.level, items.item)
        / (SELECT SUM(n_receipts) FROM banded WHERE level = 'all') AS penetration_all
    FROM banded AS items
    INNER JOIN banded AS bands ON items.age_band = bands.age_band AND bands.level = 'all'
    WHERE items.level != 'all'
)

SELECT *, 100 * penetration / penetration_all AS naive_index
FROM shares;
