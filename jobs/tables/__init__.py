"""Input and output of the jobs: table schemas, landing zone, warehouse, quarantine, Spark session and DuckDB."""
