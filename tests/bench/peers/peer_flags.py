"""The flags of the scoring peers. This file imports no torch, which takes seconds and only the workers need."""

import argparse
from pathlib import Path


def parse(description: str) -> argparse.Namespace:
    """Parse the flags of a peer."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--events", type=Path, required=True, help="the Parquet file of photo_events")
    parser.add_argument("--landing", type=Path, required=True, help="the folder to which their paths are relative")
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--image-size", type=int, required=True, help="side of the network's input, pixels")
    parser.add_argument("--out", type=Path, required=True, help="new folder for Parquet files: photo_id, age_years")
    parser.add_argument("--workers", type=int, required=True, help="processes that score, 0: none; torch: that decode")
    parser.add_argument("--threads", type=int, required=True, help="threads of torch in each scoring process")
    parser.add_argument("--batch", type=int, required=True, help="photos that the network computes at once")
    parser.add_argument("--apart", action="store_true", help="decode in a stage of its own; torch: always")
    return parser.parse_args()
