"""Input and output of the jobs: table schemas, landing zone, warehouse, Spark session and DuckDB."""
