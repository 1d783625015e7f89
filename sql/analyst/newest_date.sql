-- Which is the newest business date with published windows?
-- Grain: one row, with null before the first night.
SELECT MAX(business_date) AS business_date
FROM analytics.age_category_affinity
