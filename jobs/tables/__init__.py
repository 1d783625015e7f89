"""What goes in and out: the tables' schemas, the landing zone, the warehouse, bad rows, the Spark session."""
