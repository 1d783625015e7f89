-- Which is the newest business date that a night has finished?
-- Grain: one row, with null before the first night.
SELECT MAX(business_date) AS business_date
FROM analytics.age_category_affinity
