import json
import re
import sys

import numpy as np
import pytest
import torch

from model import checkpoint, evaluate, train
from model.cli import InputError
from model.data import read_labels
from model.evaluate import Metrics, Settings, measure, predict_ages
from model.network import decode


def test_errors_are_those_by_hand():
    metrics = measure(np.array([20.0, 33.0, 40.0, 75.0]), np.array([20, 30, 45, 69]), constant=36.0)
    assert metrics == Metrics(
        n=4,
        mae_years=3.5,  # (0 + 3 + 5 + 6) / 4
        median_error_years=4.0,
        bias_years=1.0,  # (0 + 3 - 5 + 6) / 4
        within_5_years=0.75,
        constant_mae_years=16.0,  # (16 + 6 + 9 + 33) / 4
    )


def test_ages_come_in_order_whatever_the_batch(untrained):
    network = untrained()
    photos = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    with torch.no_grad():
        alone = [decode(network(torch.from_numpy(one[None]))).age_years.item() for one in photos]
    assert np.ptp(alone) > 1
    network.train()
    for batch_size in (2, 5, 64):
        assert predict_ages(network, photos, batch_size).tolist() == pytest.approx(alone, abs=0.5)  # bfloat16
    assert not network.training


@pytest.mark.parametrize("part", ["held-out", "all"])
def test_a_model_is_judged_on_the_asked_part_beside_the_constant_of_the_training_part(
    released, labelled_set, capsys, part
):
    folder = labelled_set(list(range(20, 60, 2)))
    evaluate.main(Settings(model=released, data=folder, part=part))
    said = json.loads(capsys.readouterr().out)
    everybody = read_labels(folder)
    training, held_out = everybody.split(0.5)
    known, judged = (training, held_out) if part == "held-out" else (everybody, everybody)
    assert said["n"] == len(judged.ages)
    assert said["constant_mae_years"] == round(np.abs(np.median(known.ages) - judged.ages).mean(), 4)
    assert said["model_version"] == checkpoint.version(released)


def test_a_set_too_small_to_split_is_named(released, labelled_set):
    with pytest.raises(InputError, match="too few photos to split; measure all of it"):
        evaluate.main(Settings(model=released, data=labelled_set([30])))


@pytest.mark.parametrize(
    ("program", "flags"),
    [
        (evaluate, {"--model", "--data", "--part"}),
        (
            train,
            {"--data", "--out", "--head", "--pretrained", "--image-size", "--epochs", "--batch-size"}
            | {"--learning-rate", "--weight-decay", "--label-sigma-years", "--held-out-share", "--seed"},
        ),
    ],
)
def test_flags_are_these(monkeypatch, capsys, program, flags):
    monkeypatch.setattr(sys, "argv", ["program", "--help"])
    with pytest.raises(SystemExit):
        program.run(program.main, program.Settings)
    assert set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out)) == flags | {"--help"}
