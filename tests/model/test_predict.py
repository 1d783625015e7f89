import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from model import precision, predict
from model.cli import InputError
from model.evaluation import calibration
from model.network import decode
from model.photos.data import read_labels
from model.photos.decoding import decode_photo
from model.predict import PhotoScore, UnreadablePhotoError, score_photos
from model.predictor import AgePredictor
from model.release import checkpoint

N_PHOTOS = 11
BFLOAT16_YEARS = 0.1


@pytest.fixture(scope="module")
def files(photo):
    """Contents by path."""
    return {f"{seed}.jpg": photo(seed=seed, size=(40 + seed, 48)) for seed in range(N_PHOTOS)}


@pytest.fixture(scope="module")
def expected(files, untrained):
    """Age of each file by the original network: float32, one photo at a time, not folded."""
    network = untrained()
    with torch.no_grad():
        pixels = {path: torch.tensor(decode_photo(content, 32)[None]) for path, content in files.items()}
        ages = {path: decode(network(batch)).age_years.item() for path, batch in pixels.items()}
    assert np.std(list(ages.values())) > 3, "the photos must differ in age"
    return ages


def ages_of(predictor, files, **options):
    return [score.age_years for score in score_photos(predictor, files, files.get, n_threads=2, **options)]


@pytest.mark.parametrize("batch_size", [1, 4, 11, 32])
def test_photo_has_the_age_of_the_original_network_in_any_batch(released, files, expected, batch_size):
    predictor = AgePredictor(released, device="cpu", dtype=torch.float32, batch_size=batch_size)
    assert ages_of(predictor, files) == pytest.approx(list(expected.values()), abs=0.01)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="runs where there is a GPU")
def test_gpu_gives_nearly_the_same_age_in_any_batch(released, files, expected):
    ages = [ages_of(AgePredictor(released, device="cuda", batch_size=batch_size), files) for batch_size in (4, 32)]
    assert ages[0] == pytest.approx(ages[1], abs=BFLOAT16_YEARS)
    assert ages[0] == pytest.approx(list(expected.values()), abs=0.5)


@pytest.mark.parametrize("head", ["distribution", "scalar"])
@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_bfloat16_gives_nearly_the_same_age_in_any_batch(untrained, tmp_path, files, batch_size, head):
    checkpoint.save(tmp_path / "age", untrained(head), {})
    whole = AgePredictor(tmp_path / "age", device="cpu", dtype=torch.bfloat16, batch_size=N_PHOTOS)
    other = AgePredictor(tmp_path / "age", device="cpu", dtype=torch.bfloat16, batch_size=batch_size)
    assert ages_of(other, files) == pytest.approx(ages_of(whole, files), abs=BFLOAT16_YEARS)


def test_years_of_a_scalar_head_are_not_rounded(untrained, tmp_path, files):
    network = untrained("scalar")
    with torch.no_grad():
        network.top.weight.zero_()
        network.top.bias.fill_(40.13)
    checkpoint.save(tmp_path / "age", network, {})
    predictor = AgePredictor(tmp_path / "age", device="cpu", dtype=torch.bfloat16)
    assert ages_of(predictor, files) == pytest.approx([40.13] * N_PHOTOS, abs=1e-4)


def test_file_that_is_not_part_of_the_version_changes_no_age(untrained, tmp_path, files):
    checkpoint.save(tmp_path / "age", untrained(), {})
    before = ages_of(AgePredictor(tmp_path / "age", device="cpu"), files)
    shifted = calibration.fit(torch.eye(101)[torch.arange(40, 60)], np.arange(20, 40))
    text = calibration.dump(shifted)
    (tmp_path / "age" / "calibration.json").write_text(text)
    assert ages_of(AgePredictor(tmp_path / "age", device="cpu"), files) == before
    checkpoint.save(tmp_path / "age", untrained(), {}, {"calibration.json": text})
    assert ages_of(AgePredictor(tmp_path / "age", device="cpu"), files) != before


def test_scoring_and_training_use_the_same_pixels(released, labelled_set, monkeypatch):
    labelled = read_labels(labelled_set([30, 40, 50]))
    paths = [str(labelled.folder / "final_files" / name) for name in labelled.file_names]
    predictor = AgePredictor(released, device="cpu", dtype=torch.float32, batch_size=2)
    seen, estimate = [], predictor.estimate
    monkeypatch.setattr(predictor, "estimate", lambda pixels: seen.append(pixels) or estimate(pixels))
    list(score_photos(predictor, paths, lambda path: Path(path).read_bytes(), n_threads=1))
    assert np.array_equal(np.concatenate(seen), labelled.pixels(predictor.image_size))


def test_scores_are_in_the_order_of_the_paths_including_unreadable_photos(released, files, expected):
    # More than a batch of them in a row, so that one batch has nothing to estimate.
    paths = ["a", "0.jpg", "b", "b", "b", "b", "b", "1.jpg", "gone", "2.jpg"]

    def read(path):
        if path == "gone":
            raise UnreadablePhotoError("file_missing", "no such file")
        return files.get(path, b"" if path == "a" else b"<html>")

    predictor = AgePredictor(released, device="cpu", dtype=torch.float32, batch_size=2)
    scores = list(score_photos(predictor, paths, read, n_threads=3))
    reasons = ["file_empty", None, *["not_an_image"] * 5, None, "file_missing", None]
    assert [score.reason for score in scores] == reasons
    assert [score.status for score in scores] == ["unreadable" if reason else "scored" for reason in reasons]
    ages = {path: score.age_years for path, score in zip(paths, scores, strict=True) if score.age_years is not None}
    assert ages == pytest.approx({path: expected[path] for path in ("0.jpg", "1.jpg", "2.jpg")}, abs=0.01)


def test_unreadable_photo_has_a_detail_and_no_numbers(released):
    predictor = AgePredictor(released, device="cpu", dtype=torch.float32)
    (score,) = score_photos(predictor, ["x"], lambda _: b"", n_threads=1)
    assert score == PhotoScore(status="unreadable", reason="file_empty", detail="0 bytes")


def test_score_lies_in_its_interval_and_probabilities_are_ordered(released, files):
    predictor = AgePredictor(released, device="cpu", dtype=torch.float32)
    for score in score_photos(predictor, files, files.get, n_threads=1):
        assert score.age_low <= score.age_years <= score.age_high
        assert 0 <= score.p_under_18 <= score.p_under_25 <= 1


def test_scalar_head_gives_years_only(tmp_path, untrained, files):
    checkpoint.save(tmp_path / "age", untrained("scalar"), {})
    predictor = AgePredictor(tmp_path / "age", device="cpu", dtype=torch.float32)
    (score,) = score_photos(predictor, ["0.jpg"], files.get, n_threads=1)
    assert 0 <= score.age_years <= 100
    assert score[1:] == (None, None, None, None, "scored", None, None)


def test_no_photos_give_no_scores(released):
    assert list(score_photos(AgePredictor(released, device="cpu"), [], dict.get, n_threads=1)) == []


def test_unreachable_storage_ends_the_stream_without_reading_ahead(released, files):
    reads = []

    def read(path):
        reads.append(path)
        if len(reads) == 1:
            raise ConnectionError("no answer")
        time.sleep(0.05)
        return files["0.jpg"]

    predictor = AgePredictor(released, device="cpu", dtype=torch.float32, batch_size=32)
    with pytest.raises(ConnectionError, match="no answer"):
        list(score_photos(predictor, ["x"] * 1000, read, n_threads=1))
    assert len(reads) < 96


@pytest.mark.parametrize("n_batches_ahead", [0, 1, 2])
def test_read_ahead_is_limited(released, files, n_batches_ahead):
    taken = []
    paths = (taken.append(number) or "0.jpg" for number in range(1000))
    predictor = AgePredictor(released, device="cpu", dtype=torch.float32, batch_size=3)
    scores = score_photos(predictor, paths, files.get, n_threads=2, n_batches_ahead=n_batches_ahead)
    for n_scores in range(1, 8):
        next(scores)
        assert len(taken) <= (2 + n_batches_ahead + (n_scores - 1) // 3) * 3
    scores.close()
    assert len(taken) < 40


def test_photos_are_decoded_while_the_network_computes(released, files, monkeypatch):
    """Each batch waits until three more photos were read, so without read-ahead the stream would hang."""
    read_ahead = threading.Semaphore(0)
    predictor = AgePredictor(released, device="cpu", dtype=torch.float32, batch_size=3)
    estimate = predictor.estimate

    def estimate_after_three_more(photos):
        assert all(read_ahead.acquire(timeout=20) for _ in range(3))
        return estimate(photos)

    def read(path):
        read_ahead.release()
        return files[path]

    monkeypatch.setattr(predictor, "estimate", estimate_after_three_more)
    assert len(list(islice(score_photos(predictor, ["0.jpg"] * 30, read, n_threads=2), 6))) == 6


def test_closing_the_stream_ends_its_threads(released, files):
    before = threading.active_count()
    predictor = AgePredictor(released, device="cpu", dtype=torch.float32, batch_size=2)
    scores = score_photos(predictor, ["0.jpg"] * 50, files.get, n_threads=4)
    next(scores)
    scores.close()
    assert threading.active_count() == before


def test_process_loads_a_model_once(released):
    predict.shared.cache_clear()
    version = predict.version(released)
    assert predict.shared(released, version, "cpu") is predict.shared(released, version, "cpu")
    predict.shared.cache_clear()


def test_folder_without_a_model_is_reported(tmp_path):
    with pytest.raises(InputError, match="is not a model folder"):
        predict.prepare(tmp_path)
    with pytest.raises(InputError, match="is not a model folder"):
        AgePredictor(tmp_path)


@pytest.mark.parametrize(("dtype", "tolerance_years"), [(torch.float32, 0.01), (torch.bfloat16, 1)])
def test_scoring_uses_the_native_precision(released, monkeypatch, files, expected, *, dtype, tolerance_years):
    monkeypatch.setattr(precision, "native_dtype", lambda _: dtype)
    predictor = AgePredictor(released, device="cpu")
    seen = []
    predictor._forward.backbone.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    assert ages_of(predictor, files) == pytest.approx(list(expected.values()), abs=tolerance_years)
    assert set(seen) == {dtype}


@pytest.mark.parametrize("gpu", ["100", "GPU-8f2e", "-1", ""])
def test_the_cpu_takes_the_place_of_a_gpu_that_does_not_exist(gpu, capsys):
    assert predict.device_of(gpu) == "cpu"
    assert capsys.readouterr().out.startswith(f"CUDA can't use GPU {gpu}: ")


@pytest.mark.parametrize("error", [torch.AcceleratorError, RuntimeError, AssertionError])
def test_the_cpu_takes_the_place_of_a_gpu_that_is_listed_but_fails(error, monkeypatch, capsys):
    def zeros(*_, device):
        if device == "cuda:1":
            raise error("CUDA error: out of memory\nCompile with ...")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "zeros", zeros)
    assert [predict.device_of(gpu) for gpu in ("0", "1", None)] == ["cuda:0", "cpu", None]
    assert capsys.readouterr().out == "CUDA can't use GPU 1: CUDA error: out of memory\n"


def test_the_assigned_gpu_is_the_current_one_when_its_precision_is_asked(released, monkeypatch):
    current = [0]
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: current.append(device.index))

    def native_dtype(_):
        raise LookupError(f"of GPU {current[-1]}")

    monkeypatch.setattr(precision, "native_dtype", native_dtype)
    with pytest.raises(LookupError, match="of GPU 1"):
        AgePredictor(released, device="cuda:1")
    with pytest.raises(LookupError, match="of GPU 1"):
        AgePredictor(released, device="cuda")
