"""Photos per second that this machine scores, and their share of the rate of the network alone.

Run: `make bench-score`, or this file with flags. It does not use Spark: `score_photos` is what one Spark worker runs.
Three rates, in images/s, each with minimum, median and maximum of the repeats:

- forward: the network alone, on pixels that are on the device already: an upper bound.
- score: from JPEG bytes in memory to ages, as in the nightly job, with its share of forward.
- decode: from JPEG bytes to pixels, in as many threads as scoring uses, without the network.
"""

import argparse
import io
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter

from model.config import NetworkConfig
from model.network import AgeNetwork
from model.photos.decoding import decode_photo
from model.predict import prepare, score_photos
from model.predictor import AgePredictor
from model.release import checkpoint

DEFAULT_BATCH_SIZES = {"cuda": [64, 128, 256, 512, 1024], "cpu": [32]}
DTYPES = {"auto": None, "float32": torch.float32, "bfloat16": torch.bfloat16}
"""`auto` is what the nightly job runs: the native precision, compiled. On a CPU the others run uncompiled."""
DEFAULT_PRECISIONS = {"cuda": ["auto"], "cpu": ["float32", "auto"]}
DEFAULT_N_PHOTOS = {"cuda": 8192, "cpu": 256}
PHOTO_SIZES = (200, 400)
N_DISTINCT = 64  # photos that are drawn; they are decoded again and again


def draw_photo(seed: int, size: int) -> bytes:
    """Draw a smooth random picture with a little grain, which as a JPEG is about as large as a face crop."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 4, (size, size, 3))
    image = Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8))
    file = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(0.7)).save(file, "JPEG", quality=85)
    return file.getvalue()


def photo_sets(photos_dir: Path | None) -> Iterator[tuple[str, list[bytes]]]:
    """Yield a name and the contents of each set of photos."""
    if photos_dir:
        files = sorted(path for path in photos_dir.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
        yield photos_dir.name, [path.read_bytes() for path in files[:2000]]
        return
    for size in PHOTO_SIZES:
        yield f"{size} px", [draw_photo(seed, size) for seed in range(N_DISTINCT)]


def random_model(folder: Path) -> Path:
    """Write a model folder with random weights: the rates do not depend on them."""
    torch.manual_seed(0)
    checkpoint.save(folder, AgeNetwork(NetworkConfig(image_size=224)), {})
    return folder


def rates(work: Callable[[], int], repeats: int) -> list[float]:
    """Return images/s of each repeat of `work`, which returns how many images it did."""
    measured = []
    for _ in range(repeats):
        began = time.perf_counter()
        n_images = work()
        measured.append(n_images / (time.perf_counter() - began))
    return measured


def forward(predictor: AgePredictor, n_photos: int) -> int:
    """Run the network alone on pixels that are on the device."""
    shape = (predictor.batch_size, predictor.image_size, predictor.image_size, 3)
    batch = torch.randint(0, 256, shape, dtype=torch.uint8).to(predictor.device)
    n_batches = max(1, n_photos // predictor.batch_size)
    with torch.inference_mode():
        for _ in range(n_batches):
            last = predictor._forward(batch)
        last.sum().item()  # waits for the device
    return n_batches * predictor.batch_size


def score(predictor: AgePredictor, photos: list[bytes], n_photos: int, n_threads: int) -> int:
    """Score photos as the nightly job does."""
    paths = (str(number % len(photos)) for number in range(n_photos))
    scores = score_photos(predictor, paths, lambda path: photos[int(path)], n_threads=n_threads)
    n_scored = sum(score.status == "scored" for score in scores)
    if n_scored < n_photos:
        raise ValueError(f"{n_photos - n_scored} of {n_photos} photos are unreadable")
    return n_scored


def decode_only(photos: list[bytes], image_size: int, n_photos: int, n_threads: int) -> int:
    """Decode photos without using the pixels."""
    with ThreadPoolExecutor(n_threads) as threads:
        chosen = (photos[number % len(photos)] for number in range(n_photos))
        return sum(1 for _ in threads.map(partial(decode_photo, image_size=image_size), chosen))


def machine(device: torch.device) -> str:
    """Describe the machine."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    cpu = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    gpu = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    return f"{cpu}, {len(os.sched_getaffinity(0))} cores{gpu}, torch {torch.__version__}"


def row(*cells: object) -> None:
    """Print a line of the table at once, as a run may take minutes."""
    print("{:<9} {:<10} {:>6} {:<11} {:>8} {:>8} {:>8} {:>8}".format(*cells), flush=True)


def row_of(measured: list[float], ceiling: float | None, *cells: object) -> None:
    """Print one measurement."""
    share = f"{statistics.median(measured) / ceiling:.0%}" if ceiling else ""
    row(*cells, *(f"{rate:.0f}" for rate in (min(measured), statistics.median(measured), max(measured))), share)


def main(arguments: argparse.Namespace) -> None:
    """Measure every combination and print the table."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    n_photos = arguments.n_photos or DEFAULT_N_PHOTOS[device.type]
    n_threads = 2 if device.type == "cpu" else min(32, os.cpu_count() or 1)  # as jobs.score_photos
    print(f"{machine(device)}; {n_photos} photos, {n_threads} decoding threads, {arguments.repeats} repeats")
    with tempfile.TemporaryDirectory() as scratch:
        model = arguments.model or random_model(Path(scratch) / "age")
        print(f"{prepare(model)}; images/s:")
        row("measured", "precision", "batch", "photos", "min", "median", "max", "share")
        sets = list(photo_sets(arguments.photos_dir))
        image_size = checkpoint.load(model).config.image_size
        for name, photos in sets:
            decoding = partial(decode_only, photos, image_size, n_photos, n_threads)
            row_of(rates(decoding, arguments.repeats), None, "decode", "", "", name)
        for precision in arguments.precisions or DEFAULT_PRECISIONS[device.type]:
            for batch_size in arguments.batch_sizes or DEFAULT_BATCH_SIZES[device.type]:
                predictor = AgePredictor(model, dtype=DTYPES[precision], batch_size=batch_size)
                forward(predictor, 2 * batch_size)  # compiles, and warms up
                alone = rates(partial(forward, predictor, n_photos), arguments.repeats)
                row_of(alone, None, "forward", precision, batch_size, "")
                for name, photos in sets:
                    score(predictor, photos, 2 * batch_size, n_threads)
                    scoring = partial(score, predictor, photos, n_photos, n_threads)
                    ceiling = statistics.median(alone)
                    row_of(rates(scoring, arguments.repeats), ceiling, "score", precision, batch_size, name)


def parse() -> argparse.Namespace:
    """Parse the flags with argparse: machines that only score have no tyro."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos-dir", type=Path, help="photos to score; by default drawn, of 200 and 400 pixels")
    parser.add_argument("--model", type=Path, help="model folder; by default random weights at 224 pixels")
    parser.add_argument("--n-photos", type=int, help=f"photos per repeat; by device {DEFAULT_N_PHOTOS}")
    parser.add_argument("--batch-sizes", type=int, nargs="+", help=f"by device {DEFAULT_BATCH_SIZES}")
    parser.add_argument("--precisions", nargs="+", choices=list(DTYPES), help=f"by device {DEFAULT_PRECISIONS}")
    parser.add_argument("--repeats", type=int, default=3, help="times each rate is measured (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main(parse())
