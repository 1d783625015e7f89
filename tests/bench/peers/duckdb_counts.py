"""Match photos to receipts, count by age and item, and compute naive affinities with one DuckDB script."""

import argparse
from pathlib import Path

import duckdb


def main(flags: argparse.Namespace) -> None:
    """Run the script and write its tables."""
    with duckdb.connect() as connection:
        # Nobody needs the order of the rows, and keeping it costs memory.
        connection.execute("SET preserve_insertion_order = false")
        for name in ("landing", "photo_ages", "date"):
            connection.execute(f"SET VARIABLE {name} = ?", [str(getattr(flags, name))])
        connection.execute(Path(__file__).with_name("counts.sql").read_text(encoding="utf-8"))
        flags.out.mkdir()
        for table in ("receipt_ages", "daily_counts", "affinity"):
            connection.table(table).write_parquet(str(flags.out / f"{table}.parquet"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--landing", type=Path, required=True)
    parser.add_argument("--photo-ages", type=Path, required=True, help="folder of the Delta table, with one version")
    parser.add_argument("--date", required=True)
    parser.add_argument("--out", type=Path, required=True, help="new folder for the Parquet files")
    main(parser.parse_args())
