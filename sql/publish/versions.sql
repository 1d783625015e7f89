-- Which dates were counted, with which model and error kernel, and from which counts were their windows published and
-- screened? Are its counts deleted?
-- Grain: one row per date with a report. A version or hash is null if the job has not finished the date.
SELECT
    business_date,
    MAX(text) FILTER (WHERE job = 'count_purchases' AND measure = 'counts_hash') AS counts_hash,
    MAX(text) FILTER (WHERE job = 'score_photos' AND measure = 'model_version') AS model_version,
    MAX(text) FILTER (WHERE job = 'score_photos' AND measure = 'kernel_version') AS kernel_version,
    MAX(text) FILTER (WHERE job = 'build_affinity' AND measure = 'windows_hash') AS windows_hash,
    MAX(text) FILTER (WHERE job = 'screen_cashiers' AND measure = 'windows_hash') AS screening_hash,
    COUNT(*) FILTER (WHERE job = 'count_purchases' AND measure = 'counts_deleted') > 0 AS counts_deleted,
    COUNT(*) FILTER (WHERE job = 'count_purchases' AND measure = 'cashier_counts_deleted') > 0
        AS cashier_counts_deleted
FROM analytics.run_quality
GROUP BY business_date
ORDER BY business_date
