import os

import numpy as np
import pytest
import torch

from model import compiled, precision, predict
from model.predict import score_photos
from model.predictor import AgePredictor
from model.release import checkpoint

N_PHOTOS = 11
BFLOAT16_YEARS = 0.1


@pytest.fixture(scope="module")
def files(photo):
    """Contents by path."""
    return {f"{seed}.jpg": photo(seed=seed) for seed in range(N_PHOTOS)}


def ages_of(predictor, paths, files):
    return [score.age_years for score in score_photos(predictor, paths, files.get, n_threads=2)]


def test_package_is_built_beside_the_folder_and_leaves_no_temporary_files(compiled_model):
    folder = compiled_model.folder
    assert compiled_model.message == "cpu, bfloat16, compiled"
    assert compiled_model.left_in_tmpdir == []
    assert sorted(path.name for path in folder.parent.iterdir()) == ["age", "age.compiled", "inductor", "tmp"]
    (package,) = (folder.parent / "age.compiled").iterdir()
    assert package.name.startswith(f"{predict.version(folder)}-{torch.__version__}-bfloat16-")


def test_package_is_built_once(compiled_model, monkeypatch):
    monkeypatch.setattr(torch.export, "export", None)
    assert predict.prepare(compiled_model.folder) == compiled_model.message


def test_package_is_not_part_of_the_version(compiled_model, untrained, tmp_path):
    assert predict.version(compiled_model.folder) == checkpoint.save(tmp_path / "age", untrained(), {})


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_package_gives_the_ages_of_the_uncompiled_network_in_any_batch(compiled_model, files, batch_size):
    paths = [*files] * 3  # a full batch of 32, and a batch of one photo
    fast = AgePredictor(compiled_model.folder, device="cpu", batch_size=batch_size)
    uncompiled = AgePredictor(compiled_model.folder, device="cpu", dtype=torch.bfloat16)
    assert ages_of(fast, paths, files) == pytest.approx(ages_of(uncompiled, paths, files), abs=BFLOAT16_YEARS)


def test_package_is_used_and_leaves_no_temporary_files(compiled_model, files, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    loaded = []
    load = compiled.load
    monkeypatch.setattr(compiled, "load", lambda package: loaded.append(package) or load(package))
    ages_of(AgePredictor(compiled_model.folder, device="cpu"), files, files)
    assert len(loaded) == 1
    AgePredictor(compiled_model.folder, device="cpu", dtype=torch.float32)
    assert len(loaded) == 1, "a given precision is not that of the package"
    assert list(tmp_path.iterdir()) == []
    assert os.environ["TMPDIR"] == str(tmp_path)


def test_package_rejects_pixels_of_another_size(compiled_model):
    predictor = AgePredictor(compiled_model.folder, device="cpu")
    with pytest.raises(RuntimeError):
        predictor.estimate(np.zeros((2, 48, 48, 3), np.uint8))


def test_package_of_another_version_is_not_used(compiled_model, monkeypatch, tmp_path, untrained):
    (built,) = (compiled_model.folder.parent / "age.compiled").iterdir()
    checkpoint.save(tmp_path / "age", untrained(seed=1), {})
    (tmp_path / "age.compiled").mkdir()
    (tmp_path / "age.compiled" / built.name).write_bytes(b"of another version")
    monkeypatch.setattr(compiled, "load", None)
    AgePredictor(tmp_path / "age", device="cpu")


def test_package_of_other_network_code_is_not_used(compiled_model, monkeypatch):
    monkeypatch.setattr(compiled, "AgeNetwork", AgePredictor)
    monkeypatch.setattr(compiled, "load", None)
    AgePredictor(compiled_model.folder, device="cpu")


def test_package_of_another_precision_or_instruction_set_is_not_used(compiled_model, monkeypatch):
    monkeypatch.setattr(compiled, "load", None)
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX")
        AgePredictor(compiled_model.folder, device="cpu")
    monkeypatch.setattr(precision, "native_dtype", lambda _: torch.float32)
    AgePredictor(compiled_model.folder, device="cpu")


@pytest.mark.usefixtures("on_cpu")
def test_scoring_works_where_the_network_cannot_be_compiled(monkeypatch, tmp_path, untrained, files):
    monkeypatch.setattr(precision, "native_dtype", lambda _: torch.bfloat16)
    checkpoint.save(tmp_path / "age", untrained(), {})
    (tmp_path / "age.compiled").touch()  # a file where the folder should be: nothing can be written
    assert predict.prepare(tmp_path / "age").startswith("cpu, bfloat16, not compiled (FileExistsError: ")
    (tmp_path / "age.compiled").unlink()

    def no_compiler(*_, **__):
        raise RuntimeError("no working C++ compiler\nmore details")

    monkeypatch.setattr(torch.export, "export", no_compiler)
    message = predict.prepare(tmp_path / "age")
    assert message == "cpu, bfloat16, not compiled (RuntimeError: no working C++ compiler)"
    assert list((tmp_path / "age.compiled").iterdir()) == []
    assert len(ages_of(AgePredictor(tmp_path / "age", device="cpu"), files, files)) == N_PHOTOS


@pytest.mark.usefixtures("on_cpu")
def test_no_package_is_built_in_float32(untrained, monkeypatch, tmp_path):
    checkpoint.save(tmp_path / "age", untrained(), {})
    monkeypatch.setattr(precision, "native_dtype", lambda _: torch.float32)
    assert predict.prepare(tmp_path / "age") == "cpu, float32"
    assert [path.name for path in tmp_path.iterdir()] == ["age"]
