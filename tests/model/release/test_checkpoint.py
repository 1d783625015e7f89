import json
import os
import shutil

import pytest
import torch

from model.cli import InputError
from model.release import checkpoint

PHOTOS = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def folder(released, tmp_path):
    """A copy of a model folder, to damage."""
    return shutil.copytree(released, tmp_path / "age")


def rewrite_model_json(folder, **entries):
    content = checkpoint.read_model_json(folder)
    (folder / "model.json").write_text(json.dumps({**content, **entries}))


@pytest.mark.parametrize("head", ["distribution", "scalar"])
def test_loaded_network_gives_the_output_of_the_saved_one(tmp_path, untrained, head):
    network = untrained(head)
    checkpoint.save(tmp_path / "age", network, {})
    loaded = checkpoint.load(tmp_path / "age")
    with torch.no_grad():
        assert torch.equal(loaded(PHOTOS), network(PHOTOS))
    assert loaded.config == network.config
    assert not loaded.training


def test_model_json_contains_the_facts(tmp_path, untrained):
    checkpoint.save(tmp_path / "age", untrained(), {"metrics": {"mae_years": 5.5}})
    assert checkpoint.read_model_json(tmp_path / "age")["metrics"] == {"mae_years": 5.5}


def test_saving_returns_the_version_and_writes_two_files(tmp_path, untrained):
    version = checkpoint.save(tmp_path / "models" / "age", untrained(), {})
    assert version == checkpoint.version(tmp_path / "models" / "age")
    assert len(version) == 12
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["models/age/model.json", "models/age/weights.safetensors"]


def test_model_folder_is_replaced_completely(tmp_path, untrained):
    first = checkpoint.save(tmp_path / "age", untrained(seed=1), {})
    (tmp_path / "age" / "notes.txt").touch()
    assert checkpoint.save(tmp_path / "age", untrained(seed=2), {}) != first
    assert not (tmp_path / "age" / "notes.txt").exists()


def test_files_of_a_killed_run_are_removed(tmp_path, untrained):
    first = checkpoint.save(tmp_path / "age", untrained(), {})
    for left in (".age.draft", ".age.old"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "half").write_text("half")
    assert checkpoint.save(tmp_path / "age", untrained(), {}) == first
    assert [path.name for path in tmp_path.iterdir()] == ["age"]


def test_same_weights_and_facts_give_the_same_version_anywhere(tmp_path, untrained):
    here = checkpoint.save(tmp_path / "here", untrained(), {"a": 1})
    assert here == checkpoint.save(tmp_path / "there", untrained(), {"a": 1})


def test_version_changes_with_model_json(folder):
    before = checkpoint.version(folder)
    rewrite_model_json(folder, note="measured again")
    assert checkpoint.version(folder) != before


def test_changed_file_is_reported(folder):
    weights = bytearray((folder / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(weights)
    for read in (checkpoint.version, checkpoint.load):
        with pytest.raises(InputError, match=r"weights\.safetensors has hash .* restore the folder"):
            read(folder)


def test_version_is_known_without_permission_to_read_private_files(tmp_path, untrained, monkeypatch):
    files = {"learnt_photos.txt": "0123\n", "calibration.json": "{}"}
    before = os.umask(0o077)
    try:
        version = checkpoint.save(tmp_path / "age", untrained(), {}, files)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "age").iterdir()}
    assert modes.pop("learnt_photos.txt") == 0o640
    assert set(modes.values()) == {0o644}
    assert (tmp_path / "age").stat().st_mode & 0o777 == 0o755
    (tmp_path / "age" / "learnt_photos.txt").write_text("4567\n")
    with pytest.raises(InputError, match=r"learnt_photos\.txt has hash"):
        checkpoint.version(tmp_path / "age")
    monkeypatch.setattr(os, "access", lambda path, _: path.name != "learnt_photos.txt")
    assert checkpoint.version(tmp_path / "age") == version


def test_missing_file_is_reported(folder):
    (folder / "weights.safetensors").unlink()
    with pytest.raises(InputError, match=r"age lacks weights\.safetensors"):
        checkpoint.version(folder)


def test_other_folder_is_reported_with_the_program_that_writes_model_folders(tmp_path):
    with pytest.raises(InputError, match=r"is not a model folder: it has no model\.json; `python -m model\.train`"):
        checkpoint.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("\xff", "is not valid JSON"),
        ("[]", "lacks the entries network and sha256"),
        ("{}", "lacks the entries network and sha256"),
        ('{"network": {}, "sha256": []}', "lacks the entries network and sha256"),
        ('{"network": {}, "sha256": {}}', r"sha256 of weights\.safetensors"),
    ],
)
def test_damaged_model_json_is_reported(folder, text, message):
    (folder / "model.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=message):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    "change",
    [{"head": "scalar"}, {"width": 2}, {"mean": 0.5}],
)
def test_weights_that_do_not_fit_model_json_are_reported(folder, change):
    rewrite_model_json(folder, network={**checkpoint.read_model_json(folder)["network"], **change})
    with pytest.raises(InputError, match=r"the weights of .* do not fit its model\.json: [^\n]+$"):
        checkpoint.load(folder)


def test_impossible_network_is_reported(folder):
    rewrite_model_json(folder, network={**checkpoint.read_model_json(folder)["network"], "image_size": 3})
    with pytest.raises(InputError, match="image_size is 3 pixels"):
        checkpoint.load(folder)
