"""Score photos with a plain loop over torch's DataLoader, whose workers read and decode the files."""

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from peer_flags import parse
from photo_worker import Worker
from torch.utils.data import DataLoader, Dataset

from model.photos.decoding import decode_photo


class Photos(Dataset[torch.Tensor]):
    """Pixels of the files, uint8 (S, S, 3)."""

    def __init__(self, files: list[Path], size: int) -> None:
        self.files, self.size = files, size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> torch.Tensor:
        return torch.tensor(decode_photo(self.files[number].read_bytes(), self.size))


def main(flags: argparse.Namespace) -> None:
    """Score all photos and write their ages."""
    events = pq.read_table(flags.events, columns=["photo_id", "path"])
    files = [flags.landing / path for path in events["path"].to_pylist()]
    photos = Photos(files, flags.image_size)
    loader = DataLoader(photos, batch_size=flags.batch, num_workers=flags.workers)
    worker = Worker(flags.model, flags.batch, flags.threads)
    ages = [age for batch in loader for age in worker.ages(batch.numpy())]
    flags.out.mkdir()
    pq.write_table(pa.table({"photo_id": events["photo_id"], "age_years": ages}), flags.out / "ages.parquet")


if __name__ == "__main__":
    main(parse(__doc__))
