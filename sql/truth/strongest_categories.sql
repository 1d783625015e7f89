-- Which ten published category indices differ most from 100?
-- Reads the answer of truth/category_index as table category_index.
-- Grain: one row per band and category, the strongest first. Units: index 100 = as all shoppers; n_* in receipts.
SELECT * EXCLUDE (from_years)
FROM category_index
ORDER BY ABS(LN(predicted_index / 100)) DESC, age_band, category
LIMIT 10
