"""Programs, one a file, for `python -m`; `score_photos` for `spark-submit` too."""
