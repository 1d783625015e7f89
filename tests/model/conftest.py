import io
import sys
import tempfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from model import network, precision, predict, promote, train
from model.network import AgeNetwork, NetworkConfig
from model.photos.decoding import decode_photo
from model.release import checkpoint
from model.resnet import ResNet
from model.training.recipe import Recipe

IMAGE_SIZE = 32


def shallow_resnet(*, zero_init_residual=False):
    """A ResNet with one narrow block per stage and the same 2048 features: a tenth of the time and of the file size.

    Its batch statistics are those of the last batch, because tests train for a few steps only.
    """
    shallow = ResNet(n_blocks=(1, 1, 1, 1), width=16, zero_init_residual=zero_init_residual)
    for module in shallow.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    return shallow


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    # On small tensors a second thread gains nothing, and on a busy machine each step waits for it.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def on_cpu(monkeypatch):
    """Hide a GPU, whose sums have no fixed order."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(autouse=True)
def _shallow(monkeypatch):
    monkeypatch.setattr(network, "ResNet", shallow_resnet)


@pytest.fixture(scope="session")
def photo():
    """A smooth random picture as the bytes of an image file."""

    def make(seed=0, size=(48, 48), kind="JPEG", mode="RGB", **save_options):
        noise = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
        image = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(4)).convert(mode)
        file = io.BytesIO()
        image.save(file, kind, **save_options)
        return file.getvalue()

    return make


@pytest.fixture
def labelled_set(tmp_path, photo):
    """A labelled folder of the given ages; photo n is drawn from seed n and named n.jpg."""

    def make(ages, name="faces"):
        folder = tmp_path / name
        (folder / "final_files").mkdir(parents=True)
        rows = [f"{number}.jpg,{age}\n" for number, age in enumerate(ages)]
        (folder / "labels.csv").write_text("".join(["file_name,real_age\n", *rows]))
        for number in range(len(ages)):
            (folder / "final_files" / f"{number}.jpg").write_bytes(photo(seed=number))
        return folder

    return make


@pytest.fixture(scope="session")
def untrained(photo):
    """An untrained network with batch statistics of photos, whose ages differ between photos."""

    def make(head="distribution", seed=0):
        torch.manual_seed(seed)
        made = AgeNetwork(NetworkConfig(head=head, image_size=IMAGE_SIZE), shallow_resnet())
        photos = torch.from_numpy(np.stack([decode_photo(photo(seed), IMAGE_SIZE) for seed in range(32)]))
        features = []
        hook = made.top.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
        with torch.no_grad():
            made.train()(photos)
            made.eval()(photos)
            hook.remove()
            # An age c that is linear in the features, 45 plus or minus 12, and a normal distribution around it:
            # -(a - c)^2 / 128 is linear in c up to a constant.
            direction = torch.randn(features[1].shape[1])
            projected = features[1] @ direction
            direction *= 12 / projected.std()
            offset = 45 - (features[1] @ direction).mean()
            ages = torch.arange(network.N_AGES if head == "distribution" else 1) / 64
            if head == "scalar":
                ages = torch.ones(1)
            made.top.weight.copy_(ages[:, None] * direction)
            made.top.bias.copy_(ages * offset - (32 * ages**2 if head == "distribution" else 0))
        return made

    return make


@pytest.fixture(scope="session")
def released(tmp_path_factory, untrained):
    """A model folder that tests must not change."""
    folder = tmp_path_factory.mktemp("released") / "age"
    checkpoint.save(folder, untrained(), {"training": {"held_out_share": 0.5}})
    return folder


@pytest.fixture(scope="session")
def compiled_model(tmp_path_factory, untrained):
    """A model folder with its compiled package, the message of `prepare`, and the files that it left in TMPDIR."""
    if torch.cuda.is_available():
        pytest.skip("runs without a GPU: with one, no package is built")
    if precision.native_dtype(torch.device("cpu")) != torch.bfloat16:
        pytest.skip("runs on a CPU with bfloat16 instructions: in float32 no package is built")
    root = tmp_path_factory.mktemp("compiled")
    checkpoint.save(root / "age", untrained(), {})
    (root / "tmp").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "ResNet", shallow_resnet)
        patch.setenv("TMPDIR", str(root / "tmp"))
        patch.setattr(tempfile, "tempdir", None)
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(root / "inductor"))
        message = predict.prepare(root / "age")
        left_in_tmpdir = list((root / "tmp").iterdir())
    return SimpleNamespace(folder=root / "age", message=message, left_in_tmpdir=left_in_tmpdir)


@pytest.fixture
def store(tmp_path):
    """An empty store of promoted models."""
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def erring_model(tmp_path, untrained):
    """A model folder whose held-out predictions are `error` years too old: one number, or one for each photo."""

    def make(name, error=4.0, *, ages=range(20, 60), files=None, pictures="d"):
        off = np.broadcast_to(error, len(ages))
        rows = [f"{number}.jpg,{pictures}{number},{age},{age + off[number]}\n" for number, age in enumerate(ages)]
        files = {"held_out.csv": "".join(["file_name,digest,real_age,age_years\n", *rows])} if files is None else files
        checkpoint.save(
            tmp_path / name, untrained(), {"name": name}, files
        )  # otherwise equal errors would give equal versions
        return tmp_path / name

    return make


@pytest.fixture
def run_promote(monkeypatch, store, capsys):
    """Run `model.promote` on the store with a command line; returns its exit code and its output."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["promote", *map(str, arguments), "--store", str(store)])
        with pytest.raises(SystemExit) as stop:
            promote.run(promote.main, promote.Settings)
        printed = capsys.readouterr()
        return SimpleNamespace(code=stop.value.code, text=printed.out + printed.err)

    return call


@pytest.fixture
def settings(tmp_path, labelled_set, monkeypatch):
    """Settings of a short training on twelve photos, of which three are held out."""
    small = Recipe(image_size=40, epochs=3, batch_size=4, learning_rate=1e-3)
    monkeypatch.setitem(train.PRESETS, "quick", small)

    def make(*, ages=tuple(range(5, 77, 6)), out="age", pretrained="none", held_out_share=0.3, seed=0, **recipe):
        folder = tmp_path / "faces"
        return train.Settings(
            data=folder if folder.exists() else labelled_set(ages),
            out=tmp_path / out,
            pretrained=pretrained,
            held_out_share=held_out_share,
            seed=seed,
            recipe=replace(train.PRESETS["quick"], **recipe),
        )

    return make
