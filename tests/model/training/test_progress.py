import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model import precision, train
from model.cli import InputError
from model.network import pretrained_backbone
from model.release import checkpoint
from model.training import epoch
from model.training.progress import exclusive

CONFTEST = str(Path(__file__).parents[1] / "conftest.py")
TRAIN_SHALLOW = """
import os, runpy, signal, sys
from model import network, train
network.ResNet = runpy.run_path(sys.argv.pop(1))["shallow_resnet"]
one_epoch = train.train_one_epoch

def kill_in_the_second(*arguments, epoch, **others):
    if epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return one_epoch(*arguments, epoch=epoch, **others)

train.train_one_epoch = kill_in_the_second
train.run(train.main, train.Settings, default=train.preset_settings(sys.argv[1:]))
"""


def weights(folder):
    """Hash of the weights."""
    return checkpoint.read_model_json(folder)["sha256"][checkpoint.WEIGHTS]


@pytest.fixture
def interrupted(monkeypatch):
    """Start a training that is interrupted at the start of the given epoch."""

    def make(run_settings, at_epoch):
        one_epoch = train.train_one_epoch

        def stop(*arguments, epoch, **others):
            if epoch == at_epoch:
                raise KeyboardInterrupt
            return one_epoch(*arguments, epoch=epoch, **others)

        with monkeypatch.context() as patch:
            patch.setattr(train, "train_one_epoch", stop)
            with pytest.raises(KeyboardInterrupt):
                train.main(run_settings)

    return make


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("at_epoch", [1, 2])
def test_interrupted_training_resumes_to_the_same_weights(settings, interrupted, tmp_path, capsys, at_epoch):
    train.main(settings(out="whole"))
    interrupted(settings(), at_epoch=at_epoch)
    assert not (tmp_path / "age").exists()
    capsys.readouterr()
    train.main(settings())
    printed = capsys.readouterr()
    assert f"epoch {at_epoch + 1}:" in printed.out + printed.err
    assert f"epoch {at_epoch}:" not in printed.out + printed.err
    assert weights(tmp_path / "age") == weights(tmp_path / "whole")
    facts, whole = (checkpoint.read_model_json(tmp_path / name) for name in ("age", "whole"))
    assert facts["metrics"] == whole["metrics"]
    assert facts["sha256"] == whole["sha256"]
    assert not (tmp_path / "age.training").exists()


@pytest.mark.usefixtures("on_cpu")
def test_killed_training_resumes_to_the_same_weights(settings, tmp_path):
    """The program is killed with SIGKILL after its first epoch. It has the shallow network of these tests."""
    chosen = settings(image_size=32, epochs=2)
    flags = ["--data", str(chosen.data), "--out", str(chosen.out), "--pretrained", "none", "--held-out-share", "0.3"]
    flags += ["--image-size", "32", "--epochs", "2", "--batch-size", "4", "--learning-rate", "1e-3"]
    command = [sys.executable, "-c", TRAIN_SHALLOW, CONFTEST, *flags]
    # One thread, as in this process: the same sums in the same order.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / "age.training" / "state.pt").exists()
    assert not (tmp_path / "age").exists()
    train.main(chosen)
    train.main(replace(chosen, out=tmp_path / "whole"))
    hashes = [checkpoint.read_model_json(tmp_path / name)["sha256"] for name in ("age", "whole")]
    assert hashes[0] == hashes[1]


def test_training_interrupted_after_its_last_epoch_only_writes_the_model_folder(settings, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", None)
        with pytest.raises(TypeError):
            train.main(settings())
    monkeypatch.setattr(train, "train_one_epoch", None)
    train.main(settings())
    assert checkpoint.read_model_json(tmp_path / "age")["metrics"]["n"] == 3


def test_training_does_not_resume_with_other_settings_or_photos(settings, interrupted, tmp_path):
    interrupted(settings(), at_epoch=1)
    with pytest.raises(InputError, match=r"was saved by a run with another learning_rate, seed; resume with the same"):
        train.main(settings(seed=5, learning_rate=0.5))
    pictures = {path: path.read_bytes() for path in (tmp_path / "faces" / "final_files").iterdir()}
    for path, content in pictures.items():
        path.write_bytes(content + b"\0")  # after the end of the image: other content, same pixels and split
    with pytest.raises(InputError, match="was saved by a run with another training_photos"):
        train.main(settings())
    for path, content in pictures.items():
        path.write_bytes(content)
    labels = tmp_path / "faces" / "labels.csv"
    before = labels.read_text()
    labels.write_text(before.replace("1\n", "2\n"))
    with pytest.raises(InputError, match="was saved by a run with another training_fingerprint"):
        train.main(settings())
    labels.write_text(before)
    train.main(settings())


def test_training_does_not_resume_from_another_backbone(settings, interrupted, tmp_path):
    def write_backbone(seed):
        torch.manual_seed(seed)
        torch.save(pretrained_backbone("none")[0].state_dict(), tmp_path / "begin.pt")

    write_backbone(1)
    interrupted(settings(pretrained=str(tmp_path / "begin.pt")), at_epoch=1)
    write_backbone(2)
    with pytest.raises(InputError, match="was saved by a run with another pretrained"):
        train.main(settings(pretrained=str(tmp_path / "begin.pt")))


@pytest.mark.parametrize(("before", "after"), [("bfloat16", "float32"), ("float32", "bfloat16")])
def test_training_restarts_from_the_first_epoch_in_another_precision(
    settings, interrupted, tmp_path, monkeypatch, capsys, *, before, after
):
    monkeypatch.setattr(precision, "native_dtype", lambda _: getattr(torch, before))
    interrupted(settings(), at_epoch=2)
    monkeypatch.setattr(precision, "native_dtype", lambda _: getattr(torch, after))
    capsys.readouterr()
    train.main(settings())
    printed = capsys.readouterr().out
    assert f"age.training was saved by a run in {before}; this machine trains in {after}, so training rest" in printed
    facts = checkpoint.read_model_json(tmp_path / "age")
    assert facts["training"]["precision"] == after
    train.main(settings(out="whole"))
    assert weights(tmp_path / "age") == weights(tmp_path / "whole")


def test_second_training_with_the_same_output_is_rejected(settings, tmp_path):
    with (
        exclusive(tmp_path / "age.training"),
        pytest.raises(InputError, match=r"another training run uses .*age\.training"),
    ):
        train.main(settings())


def test_training_restarts_after_interrupted_cleanup(settings, tmp_path, monkeypatch):
    remove, kept = shutil.rmtree, tmp_path / "age.training"

    def lock_first(folder, **options):  # rmtree may delete files in any order
        if folder == kept:
            (folder / ".lock").unlink()
            raise KeyboardInterrupt
        remove(folder, **options)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lock_first)
        with pytest.raises(KeyboardInterrupt):
            train.main(settings())
    assert kept.is_dir()
    train.main(settings())
    assert not (tmp_path / "age.training").exists()


def test_folder_that_is_not_progress_is_never_removed(settings, tmp_path, labelled_set):
    labelled_set([30, 40], name="age.training")
    with pytest.raises(InputError, match=r"age\.training is not the progress of a training run"):
        train.main(settings())
    assert (tmp_path / "age.training" / "labels.csv").is_file()


@pytest.mark.parametrize("breaks", ["loss", "held_out_mae"])
def test_weights_that_are_not_finite_are_not_saved(settings, interrupted, tmp_path, monkeypatch, breaks):
    interrupted(settings(), at_epoch=1)
    kept = (tmp_path / "age.training" / "state.pt").read_bytes()
    with monkeypatch.context() as patch:
        if breaks == "loss":
            patch.setattr(epoch, "loss", lambda output, *_, **__: output.sum() * torch.nan)
        else:
            patch.setattr(train, "held_out_mae", lambda *_: float("nan"))
        with pytest.raises(InputError, match=r"the loss is not finite in epoch 2; learning_rate 0\.001 is too high"):
            train.main(settings())
    assert (tmp_path / "age.training" / "state.pt").read_bytes() == kept


@pytest.mark.parametrize("n_bytes", [0, 1000])
def test_damaged_progress_is_reported(settings, interrupted, tmp_path, n_bytes):
    interrupted(settings(), at_epoch=1)
    state = tmp_path / "age.training" / "state.pt"
    state.write_bytes(state.read_bytes()[:n_bytes])
    with pytest.raises(InputError, match=r"state\.pt can't be read .*; remove .*age\.training"):
        train.main(settings())
