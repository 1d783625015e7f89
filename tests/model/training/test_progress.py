import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from model import precision, train
from model.cli import InputError
from model.network import pretrained_backbone
from model.release import checkpoint
from model.training import epoch
from model.training.progress import exclusive


def weights(folder):
    """Hash of the weights."""
    return checkpoint.read_card(folder)["sha256"][checkpoint.WEIGHTS]


@pytest.fixture
def cut_off(monkeypatch):
    """Start a training that is cut off when the given epoch begins."""

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
def test_a_training_that_was_cut_off_goes_on_to_the_same_weights(settings, cut_off, tmp_path, capsys, at_epoch):
    train.main(settings(out="whole"))
    cut_off(settings(), at_epoch=at_epoch)
    assert not (tmp_path / "age").exists()
    capsys.readouterr()
    train.main(settings())
    said = capsys.readouterr()
    assert f"epoch {at_epoch + 1}:" in said.out + said.err
    assert f"epoch {at_epoch}:" not in said.out + said.err
    assert weights(tmp_path / "age") == weights(tmp_path / "whole")
    facts, whole = (checkpoint.read_card(tmp_path / name) for name in ("age", "whole"))
    assert facts["metrics"] == whole["metrics"]
    assert facts["sha256"] == whole["sha256"]
    assert not (tmp_path / "age.training").exists()


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path, labelled_set):
    """The real program, killed with SIGKILL after its first epoch."""
    data = labelled_set(range(5, 77, 6))
    flags = ["--data", str(data), "--pretrained", "none", "--held-out-share", "0.3"]
    flags += ["--image-size", "32", "--epochs", "2", "--batch-size", "4"]

    def start(out):
        command = [sys.executable, "-m", "model.train", *flags, "--out", str(tmp_path / out)]
        # The same sums in the same order.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    whole, killed = start("whole"), start("age")
    state = tmp_path / "age.training" / "state.pt"
    while not state.exists():
        assert killed.poll() is None, "it ended before its first epoch was kept"
        time.sleep(0.01)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "age").exists()
    assert start("age").wait() == whole.wait() == 0
    hashes = [checkpoint.read_card(tmp_path / name)["sha256"] for name in ("age", "whole")]
    assert hashes[0] == hashes[1]


def test_a_training_cut_off_before_the_model_folder_was_written_trains_no_more(settings, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", None)
        with pytest.raises(TypeError):
            train.main(settings())
    monkeypatch.setattr(train, "train_one_epoch", None)
    train.main(settings())
    assert checkpoint.read_card(tmp_path / "age")["metrics"]["n"] == 3


def test_a_training_does_not_go_on_with_other_settings_or_photos(settings, cut_off, tmp_path):
    cut_off(settings(), at_epoch=1)
    with pytest.raises(InputError, match=r"was saved by a run with another learning_rate, seed; resume with the same"):
        train.main(settings(seed=5, learning_rate=0.5))
    pictures = {path: path.read_bytes() for path in (tmp_path / "faces" / "final_files").iterdir()}
    for path, content in pictures.items():
        path.write_bytes(content + b"\0")  # behind the end of the image: other content, same pixels and split
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


def test_a_training_does_not_go_on_from_another_backbone(settings, cut_off, tmp_path):
    def put_backbone(seed):
        torch.manual_seed(seed)
        torch.save(pretrained_backbone("none")[0].state_dict(), tmp_path / "begin.pt")

    put_backbone(1)
    cut_off(settings(pretrained=str(tmp_path / "begin.pt")), at_epoch=1)
    put_backbone(2)
    with pytest.raises(InputError, match="was saved by a run with another pretrained"):
        train.main(settings(pretrained=str(tmp_path / "begin.pt")))


@pytest.mark.parametrize(("before", "after"), [("bfloat16", "float32"), ("float32", "bfloat16")])
def test_training_restarts_from_the_first_epoch_in_another_precision(
    settings, cut_off, tmp_path, monkeypatch, capsys, *, before, after
):
    monkeypatch.setattr(precision, "native_dtype", lambda _: getattr(torch, before))
    cut_off(settings(), at_epoch=2)
    monkeypatch.setattr(precision, "native_dtype", lambda _: getattr(torch, after))
    capsys.readouterr()
    train.main(settings())
    printed = capsys.readouterr().out
    assert f"age.training was saved by a run in {before}; this machine trains in {after}, so training rest" in printed
    facts = checkpoint.read_card(tmp_path / "age")
    assert facts["training"]["precision"] == after
    train.main(settings(out="whole"))
    assert weights(tmp_path / "age") == weights(tmp_path / "whole")


def test_one_training_at_a_time_writes_a_folder(settings, tmp_path):
    with (
        exclusive(tmp_path / "age.training"),
        pytest.raises(InputError, match=r"another training run uses .*age\.training"),
    ):
        train.main(settings())


def test_a_removal_that_was_cut_off_stands_in_nobodys_way(settings, tmp_path, monkeypatch):
    remove, kept = shutil.rmtree, tmp_path / "age.training"

    def lock_first(folder, **options):  # in which order a folder is emptied is not for us to choose
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


def test_a_folder_of_something_else_is_never_taken_for_progress_and_removed(settings, tmp_path, labelled_set):
    labelled_set([30, 40], name="age.training")
    with pytest.raises(InputError, match=r"age\.training is not the progress of a training run"):
        train.main(settings())
    assert (tmp_path / "age.training" / "labels.csv").is_file()


@pytest.mark.parametrize("breaks", ["loss", "held_out_mae"])
def test_weights_that_are_no_numbers_are_not_kept(settings, cut_off, tmp_path, monkeypatch, breaks):
    cut_off(settings(), at_epoch=1)
    kept = (tmp_path / "age.training" / "state.pt").read_bytes()
    with monkeypatch.context() as patch:
        if breaks == "loss":
            patch.setattr(epoch, "loss", lambda output, *_, **__: output.sum() * torch.nan)
        else:
            patch.setattr(train, "held_out_mae", lambda *_: float("nan"))
        with pytest.raises(InputError, match=r"the loss is no number in epoch 2; learning_rate 0\.001 is too high"):
            train.main(settings())
    assert (tmp_path / "age.training" / "state.pt").read_bytes() == kept


@pytest.mark.parametrize("n_bytes", [0, 1000])
def test_progress_that_cannot_be_read_is_named(settings, cut_off, tmp_path, n_bytes):
    cut_off(settings(), at_epoch=1)
    state = tmp_path / "age.training" / "state.pt"
    state.write_bytes(state.read_bytes()[:n_bytes])
    with pytest.raises(InputError, match=r"state\.pt can't be read .*; remove .*age\.training"):
        train.main(settings())
