"""Model folders whose hashes fit and whose content can't be used: one line, before anything is written."""

import hashlib
import json
import math
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from model import predict
from model.cli import InputError
from model.evaluation import calibration
from model.release import checkpoint

CURVES = calibration.fit(torch.eye(101)[torch.arange(20, 60)], np.arange(20, 60)).to_json()


@pytest.fixture(scope="module")
def whole(untrained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "age"
    checkpoint.save(folder, untrained(), {}, {"calibration.json": json.dumps({"calibration": CURVES})})
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    """A copy, to damage."""
    return shutil.copytree(whole, tmp_path / "age")


def test_a_whole_model_has_no_fault(folder):
    assert predict.check(folder) == checkpoint.version(folder)


def write(folder, name, content):
    """Write a file and its hash."""
    (folder / name).write_bytes(content)
    stored = json.loads((folder / "model.json").read_text())
    stored["sha256"][name] = hashlib.sha256(content).hexdigest()
    (folder / "model.json").write_text(json.dumps(stored))


def change_network(folder, **settings):
    stored = json.loads((folder / "model.json").read_text())
    stored["network"] |= settings
    (folder / "model.json").write_text(json.dumps(stored))


def change_weights(folder, change):
    weights = load_file(folder / "weights.safetensors")
    change(weights)
    save_file(weights, folder / "weights.safetensors")
    write(folder, "weights.safetensors", (folder / "weights.safetensors").read_bytes())


@contextmanager
def one_line(message):
    with pytest.raises(InputError, match=message) as error:
        yield
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("content", [b"", b"\0" * 1000, b"{}", b"\xff" * 8 + b"{}"])
def test_a_weights_file_of_another_kind_is_reported(folder, content):
    write(folder, "weights.safetensors", content)
    with one_line(r"the weights of .* do not fit its model\.json"):
        predict.check(folder)


def test_half_of_a_weights_file_is_reported(folder):
    content = (folder / "weights.safetensors").read_bytes()
    write(folder, "weights.safetensors", content[: len(content) // 2])
    with one_line(r"the weights of .* do not fit its model\.json"):
        predict.check(folder)


def test_weights_of_an_enormous_size_are_not_read(folder, monkeypatch):
    monkeypatch.setattr("safetensors.torch.load_file", lambda _: pytest.fail("read"))
    with (folder / "weights.safetensors").open("ab") as file:
        file.truncate(3 * (folder / "weights.safetensors").stat().st_size)
    write(folder, "weights.safetensors", (folder / "weights.safetensors").read_bytes())
    with one_line(r"do not fit its model\.json: \d+ bytes, at most \d+ wanted"):
        predict.check(folder)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("top.bias", math.nan, r"top\.bias has values that are not finite"),
        ("backbone.conv1.weight", math.inf, r"backbone\.conv1\.weight has values that are not finite"),
        ("backbone.bn1.running_var", -5.0, "its output has values that are not finite"),
    ],
)
def test_weights_without_a_finite_output_are_reported(folder, name, value, message):
    change_weights(folder, lambda weights: weights[name].fill_(value))
    with one_line(message):
        predict.check(folder)


def test_weights_of_another_shape_are_reported(folder):
    change_weights(folder, lambda weights: weights.update({"top.bias": torch.zeros(3)}))
    with one_line(r"the weights of .* do not fit its model\.json: .* size mismatch for top.bias: copying a param"):
        predict.check(folder)


def test_missing_weights_are_reported_briefly(folder):
    change_weights(folder, lambda weights: [weights.pop(name) for name in list(weights)[1:]])
    with one_line(r"the weights of .* do not fit its model\.json: .* Missing key\(s\) in state_dict: "):
        predict.check(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"std": [0.2, 0, 0.2]}, r"std is \(0\.2, 0, 0\.2\); it must be three numbers between 0 and 1000"),
        ({"std": [0.2, math.nan, 0.2]}, "std is .*; it must be three numbers between 0 and 1000"),
        ({"std": [0.2, math.inf, 0.2]}, "std is .*; it must be three numbers between 0 and 1000"),
        ({"mean": [math.nan, 0, 0]}, "mean is .*; it must be three numbers between -1000 and 1000$"),
        ({"mean": [0.5, 0.5]}, "mean is .*; it must be three numbers between -1000 and 1000$"),
        ({"mean": ["a", True, None]}, "mean is .*; it must be three numbers between -1000 and 1000$"),
        ({"mean": [0.5] * 100_000}, "mean is .*; it must be three numbers between -1000 and 1000$"),
        ({"mean": [10**400, 0, 0]}, "mean is .*; it must be three numbers between -1000 and 1000$"),
        ({"std": [10**30, 1, 1]}, "std is .*; it must be three numbers between 0 and 1000$"),
        ({"image_size": 64.0}, r"image_size is 64\.0 pixels; it must be a whole number from 32 to 512"),
        ({"image_size": "64"}, "image_size is '64' pixels"),
        ({"image_size": True}, "image_size is True pixels"),
        ({"image_size": 10**9}, "image_size is 1000000000 pixels"),
        ({"head": ["scalar"]}, "head is"),
        ({"head": None}, "head is None"),
    ],
)
def test_impossible_settings_of_the_network_are_reported(folder, settings, message):
    change_network(folder, **settings)
    with one_line(message):
        predict.check(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, r"model\.json is not valid JSON"),
        (" " * (2**20 + 1), r"model\.json has 1048577 bytes; a model folder has at most 1048576"),
        ('{"network": 5, "sha256": {"weights.safetensors": 7}}', "sha256 7 for 'weights.safetensors'; it must be text"),
        (
            '{"network": 5, "sha256": {"weights.safetensors": "0", "../a": "0"}}',
            r"sha256 '0' for '\.\./a'; it must be text, for a file beside it",
        ),
        (
            '{"network": 5, "sha256": {"weights.safetensors": "0", "' + "a" * 5000 + '": "0"}}',
            "sha256 '0' for 'a+; it must be text, for a file beside it",
        ),
        (
            r'{"network": 5, "sha256": {"weights.safetensors": "0", "\ud800": "0"}}',
            "sha256 '0' for .*; it must be text, for a file beside it",
        ),
        ('{"network": {}, "sha256": {"weights.safetensors": null}}', "sha256 None for 'weights.safetensors'"),
        ('{"network": 1' + "0" * 5000 + "}", r"model\.json is not valid JSON"),
    ],
)
def test_impossible_model_json_is_reported(folder, text, message):
    (folder / "model.json").write_text(text)
    with one_line(message):
        predict.check(folder)


@pytest.mark.parametrize("network", [5, None, [], "a", {"mean": 3, "std": 4}])
def test_network_entry_of_another_type_is_reported(folder, network):
    stored = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**stored, "network": network}))
    with one_line(r"the weights of .* do not fit its model\.json"):
        predict.check(folder)


def curves(change):
    changed = np.array(CURVES["curves"])
    change(changed)
    return json.dumps({"calibration": {**CURVES, "curves": changed.tolist()}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "it lacks the entry calibration"),
        ("[]", "it lacks the entry calibration"),
        ("5", "it lacks the entry calibration"),
        ("not JSON", "is not valid JSON"),
        ("\xff", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ('{"calibration": {}}', "curves and n_photos are wanted"),
        ('{"calibration": 5}', "curves and n_photos are wanted"),
        ('{"calibration": {"curves": "a", "n_photos": 1}}', r"curves are <U1 of the shape \(\); wanted numbers"),
        ('{"calibration": {"curves": [[0, 1], [0]], "n_photos": 1}}', "curves and n_photos are wanted"),
        (
            '{"calibration": {"curves": [[0, 1]], "n_photos": 1}}',
            r"curves are int64 of the shape \(1, 2\); wanted numbers of \(21, 91\)",
        ),
        ('{"calibration": {"curves": [[0, 1' + "0" * 400 + ']], "n_photos": 1}}', "curves are object of the shape"),
        *[
            (json.dumps({"calibration": {**CURVES, "n_photos": n_photos}}), "n_photos is .*; it must be a whole number")
            for n_photos in ("zzz", None, -5, 2.0, True)
        ],
        (curves(lambda values: values.fill(math.nan)), "a curve does not rise from 0 to 1"),
        (curves(lambda values: values[3].sort() or values[3, ::-1].sort()), "a curve does not rise from 0 to 1"),
        (curves(lambda values: values.__imul__(2)), "a curve does not rise from 0 to 1"),
    ],
)
def test_impossible_calibration_is_reported(folder, text, message):
    write(folder, "calibration.json", text.encode("latin-1"))
    with one_line(rf"calibration\.json .*({message})"):
        predict.check(folder)


def test_a_model_that_cannot_score_is_not_promoted(folder, run_promote, store):
    write(folder, "calibration.json", b"{}")
    result = run_promote(shutil.copytree(folder, folder.with_name("other")))
    assert (result.code, list(store.glob("[!.]*"))) == (2, [])
    assert "error: " in result.text
    assert "calibration.json can't be used" in result.text
