"""What a driver and a scoring worker import: each worker of a night pays for it, before its first photo."""

import subprocess
import sys

import pytest

from model.network import AgeNetwork, NetworkConfig
from model.release import checkpoint
from model.resnet import ResNet

SLOW = {"jinja2", "matplotlib", "pandas", "scipy", "sympy", "torchvision", "torch._dynamo", "torch._inductor"}

DRIVER = """
from pathlib import Path
from model import age_errors, kernel, predict
folder = Path(sys.argv[1])
assert predict.check(folder) == predict.version(folder)
assert age_errors.read(folder, None).source == "held_out"
"""

WORKER = """
from pathlib import Path
from model import predict
folder, photo = map(Path, sys.argv[1:])
predictor = predict.shared(folder, predict.version(folder), "cpu")
(score,) = predict.score_photos(predictor, [str(photo)], lambda path: Path(path).read_bytes(), n_threads=1)
assert score.status == "scored", score
"""


@pytest.fixture(scope="module")
def whole_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "age"
    checkpoint.save(folder, AgeNetwork(NetworkConfig(image_size=32), ResNet()), {})
    return folder


def imported(program, *arguments):
    """Run a program in a new process and return the modules that it has imported."""
    source = f"import sys\n{program}\nprint(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", source, *map(str, arguments)], check=True, capture_output=True, text=True
    )
    return set(run.stdout.split())


def test_a_driver_checks_a_model_without_torch(whole_model):
    assert imported(DRIVER, whole_model) & {*SLOW, "torch"} == {"pandas"}


def test_a_worker_imports_torch_and_nothing_else_that_is_slow(whole_model, photo, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(photo())
    assert imported(WORKER, whole_model, tmp_path / "photo.jpg") & {*SLOW, "torch"} == {"torch"}


def test_a_worker_with_a_compiled_package_imports_no_compiler(compiled_model, photo, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(photo())
    assert imported(WORKER, compiled_model.folder, tmp_path / "photo.jpg") & {*SLOW, "torch"} == {"torch"}
