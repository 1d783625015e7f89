"""The age model: torch only, no Spark and no Airflow."""
