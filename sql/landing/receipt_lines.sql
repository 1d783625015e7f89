-- Which receipt lines of the landing zone can be used, and why not the others?
-- Grain: one row per different row of landing.receipt_lines, so a row delivered twice is here once. reason, detail and
-- key (the key in quarantine) are null for a row that can be used; the first reason that applies counts.
-- receipt, product: numbers of `receipts` and `products`, which need less memory than ids.
-- Inputs: `receipts`, the answer of nightly/receipts; `products`, the usable rows of landing/products.
-- Parameters: $max_figure, the largest quantity and amount, positive or negative.
WITH repeated AS (
    -- Few keys occur twice, and only their rows need to be compared. Different keys of one hash do no harm.
    SELECT HASH(receipt_id, line_no) AS key_hash
    FROM landing.receipt_lines
    GROUP BY key_hash
    HAVING COUNT(*) > 1
),

versions AS (
    SELECT
        *,
        1 AS n_versions
    FROM landing.receipt_lines
    WHERE HASH(receipt_id, line_no) NOT IN (SELECT key_hash FROM repeated)
    UNION ALL
    SELECT
        *,
        COUNT(*) OVER (PARTITION BY receipt_id, line_no) AS n_versions
    FROM (
        SELECT DISTINCT *
        FROM landing.receipt_lines
        WHERE HASH(receipt_id, line_no) IN (SELECT key_hash FROM repeated)
    )
),

judged AS (
    SELECT
        versions.*,
        receipts.receipt,
        products.product,
        CONCAT_WS(
            ', ',
            CASE WHEN COALESCE(versions.receipt_id, '') = '' THEN 'receipt_id' END,
            CASE WHEN versions.line_no IS NULL THEN 'line_no' END,
            CASE WHEN COALESCE(versions.product_id, '') = '' THEN 'product_id' END,
            CASE WHEN versions.quantity IS NULL THEN 'quantity' END,
            CASE WHEN versions.amount IS NULL THEN 'amount' END
        ) AS missing,
        CASE
            WHEN missing <> '' THEN 'missing_value'
            -- NaN is above every number.
            WHEN
                ABS(versions.quantity) > $max_figure
                OR ABS(versions.amount) > $max_figure
                THEN 'impossible_figure'
            WHEN receipts.receipt IS NULL THEN 'receipt_unknown'
            WHEN receipts.is_rejected THEN 'receipt_quarantined'
            WHEN products.product IS NULL THEN 'product_unknown'
            WHEN versions.n_versions > 1 THEN 'conflicting_key'
        END AS reason
    FROM versions
    LEFT JOIN receipts ON versions.receipt_id = receipts.receipt_id
    LEFT JOIN products ON versions.product_id = products.product_id
)

SELECT
    receipt,
    product,
    quantity,
    amount,
    reason,
    CASE reason
        WHEN 'missing_value' THEN missing
        WHEN 'impossible_figure' THEN CONCAT_WS(', ', quantity, amount)
        WHEN 'receipt_unknown' THEN 'no such receipt on the date'
        WHEN 'receipt_quarantined' THEN 'its receipt is in quarantine'
        WHEN 'product_unknown' THEN FORMAT('product {}', product_id)
        WHEN 'conflicting_key' THEN n_versions || ' versions'
    END AS detail,
    CASE WHEN reason IS NOT NULL THEN COALESCE(receipt_id, '?') || '/' || COALESCE(line_no::VARCHAR, '?') END AS key
FROM judged
