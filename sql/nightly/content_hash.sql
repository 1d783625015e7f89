-- Do two tables have equal rows?
-- Grain: one row: the number of rows and the sum of their hashes, which does not depend on their order. A row that
-- occurs twice counts twice.
-- Inputs: `hashed`, any table.
SELECT
    COUNT(*) AS n_rows,
    COALESCE(SUM(MD5_NUMBER_LOWER(hashed::VARCHAR)), 0)::VARCHAR AS hash_sum
FROM hashed
