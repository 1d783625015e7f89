import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from model.cli import InputError
from model.network import N_AGES, AgeNetwork, NetworkConfig, decode, loss
from model.resnet import ResNet


def logits(shares):
    """Logits (1, 101) whose softmax is the given shares by age; -1e4 stands for no share at all."""
    output = torch.full((1, N_AGES), -1e4)
    for age, share in shares.items():
        output[0, age] = np.log(share)
    return output


def share_below(shares, age):
    """Share of a distribution below an age: bin a is spread evenly over [a - 0.5, a + 0.5)."""
    return sum(share * min(max(age - (a - 0.5), 0), 1) for a, share in enumerate(shares))


def slow_quantile(shares, level):
    """Walk up the bins until the level is reached, then go the remaining part of the way through the bin."""
    reached = 0.0
    for age, share in enumerate(shares):
        if reached + share >= level:
            return min(max(age - 0.5 + (level - reached) / share, 0), 100)
        reached += share
    return 100


@pytest.mark.parametrize("age", [1, 17, 30, 99])
def test_distribution_on_one_age_decodes_to_that_age(age):
    estimate = decode(logits({age: 1}))
    assert estimate.age_years.tolist() == [age]
    assert estimate.age_low.item() == pytest.approx(age - 0.4)
    assert estimate.age_high.item() == pytest.approx(age + 0.4)


@pytest.mark.parametrize("age", [0, 100])
def test_interval_stays_between_0_and_100_years(age):
    estimate = decode(logits({age: 1}))
    assert estimate.age_years.tolist() == [age]
    assert 0 <= estimate.age_low.item() <= age <= estimate.age_high.item() <= 100


def test_age_of_two_peaks_is_the_median_not_the_mean():
    estimate = decode(logits({20: 0.6, 60: 0.4}))
    assert estimate.age_years.item() == pytest.approx(19.5 + 0.5 / 0.6, abs=1e-4)
    assert estimate.age_low.item() == pytest.approx(19.5 + 0.1 / 0.6, abs=1e-4)
    assert estimate.age_high.item() == pytest.approx(59.5 + 0.3 / 0.4, abs=1e-4)


def test_uniform_distribution_decodes_to_50_plus_or_minus_40():
    estimate = decode(torch.zeros(1, N_AGES))
    assert estimate.age_years.item() == pytest.approx(50, abs=1e-3)
    assert estimate.age_low.item() == pytest.approx(0.1 * 101 - 0.5, abs=1e-3)
    assert estimate.age_high.item() == pytest.approx(0.9 * 101 - 0.5, abs=1e-3)


@settings(deadline=None)
@given(st.lists(st.floats(-20, 20, width=32), min_size=N_AGES, max_size=N_AGES))
def test_quantiles_equal_a_slow_reference(row):
    output = np.array(row)
    shares = np.exp(output - output.max())
    shares /= shares.sum()
    estimate = decode(torch.tensor([row]))
    for quantile, level in ((estimate.age_low, 0.1), (estimate.age_years, 0.5), (estimate.age_high, 0.9)):
        # Between two peaks a rounding error moves the age far: then the share below it is still the level.
        same_age = quantile.item() == pytest.approx(slow_quantile(shares, level), abs=1e-3)
        at_an_end = quantile.item() in (0, 100)
        assert same_age or (not at_an_end and share_below(shares, quantile.item()) == pytest.approx(level, abs=1e-5))


def test_p_under_18_counts_the_completed_years_0_to_17_and_p_under_25_those_to_24():
    estimate = decode(logits({17: 0.2, 18: 0.3, 24: 0.1, 25: 0.4}))
    assert estimate.p_under_18.item() == pytest.approx(0.2)
    assert estimate.p_under_25.item() == pytest.approx(0.6)


def test_probability_is_never_above_one():
    estimate = decode(torch.randn(200, N_AGES) - torch.arange(N_AGES) * 5)
    assert estimate.p_under_18.max() <= 1
    assert estimate.p_under_25.max() <= 1


def test_scalar_head_gives_years_and_no_distribution():
    estimate = decode(torch.tensor([[31.5], [-4.0], [130.0]]))
    assert estimate.age_years.tolist() == [31.5, 0, 100]
    for nothing in (estimate.age_low, estimate.age_high, estimate.p_under_18, estimate.p_under_25):
        assert nothing.isnan().all()


@pytest.mark.parametrize("age", [0, 6, 17, 42, 94, 100])
def test_loss_of_a_distribution_is_smallest_at_the_true_age(age):
    centres = torch.arange(N_AGES)
    around = -((centres[None, :] - centres[:, None]) ** 2) / (2 * 2.0**2)  # (centre, bin)
    losses = [loss(row[None], torch.tensor([age]), label_sigma_years=2.0).item() for row in around]
    assert int(np.argmin(losses)) == age


def test_loss_of_the_true_distribution_is_its_entropy():
    bins = torch.arange(N_AGES)
    output = -((bins - 40.0)[None] ** 2) / (2 * 3.0**2)
    shares = output.softmax(dim=1)
    entropy = -(shares * shares.clamp(min=1e-30).log()).sum().item()
    assert loss(output, torch.tensor([40]), label_sigma_years=3.0).item() == pytest.approx(entropy, abs=1e-4)


def test_loss_of_the_scalar_head_is_the_absolute_error():
    assert loss(torch.tensor([[30.0], [50.0]]), torch.tensor([33, 49]), label_sigma_years=2.0).item() == 2


def test_backbone_is_a_resnet_50_without_its_top():
    with torch.device("meta"):
        network = AgeNetwork(NetworkConfig(image_size=64), ResNet())
    assert sum(value.numel() for value in network.backbone.parameters()) == 23_508_032


@pytest.mark.parametrize(("head", "n_outputs"), [("distribution", 101), ("scalar", 1)])
def test_output_is_float32_of_the_size_of_the_head(head, n_outputs):
    network = AgeNetwork(NetworkConfig(head=head, image_size=64)).eval()
    with torch.no_grad():
        output = network(torch.zeros(2, 64, 64, 3, dtype=torch.uint8))
    assert (output.shape, output.dtype) == ((2, n_outputs), torch.float32)


def test_pixels_are_normalised_by_channel(untrained):
    network = untrained()
    seen = []
    network.backbone.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(torch.tensor([255, 0, 51], dtype=torch.uint8).expand(1, 32, 32, 3))
    expected = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    assert seen[0][0, :, 7, 9].tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"head": "median"}, "head is 'median'; it must be one of distribution, scalar"),
        ({"image_size": 31}, "image_size is 31 pixels; it must be a whole number from 32 to 512"),
        ({"image_size": 513}, "image_size is 513 pixels; it must be a whole number from 32 to 512"),
    ],
)
def test_wrong_setting_is_reported_with_its_range(wrong, message):
    with pytest.raises(InputError, match=message):
        NetworkConfig(**{"image_size": 64, **wrong})


@pytest.mark.parametrize("head", ["distribution", "scalar"])
def test_photo_and_its_mirror_image_have_the_same_age(head):
    torch.manual_seed(0)
    network = AgeNetwork(NetworkConfig(head=head, image_size=32)).eval()
    torch.nn.init.normal_(network.top.weight)
    photos = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        single_view, mirrored, averaged = (
            network.single_view(photos),
            network.single_view(photos.flip(2)),
            network(photos),
        )
        torch.testing.assert_close(averaged, network(photos.flip(2)))
    assert not torch.allclose(single_view, mirrored, atol=0.01)
    if head == "scalar":
        torch.testing.assert_close(averaged, (single_view + mirrored) / 2)
    else:
        mass = (single_view.softmax(dim=1) + mirrored.softmax(dim=1)) / 2
        torch.testing.assert_close(averaged.softmax(dim=1), mass)


@pytest.mark.parametrize("head", ["distribution", "scalar"])
def test_untrained_network_predicts_the_median_of_the_labels(head):
    network = AgeNetwork(NetworkConfig(head=head, image_size=32)).eval()
    ages = np.array([10] * 200 + [30] * 300 + [70] * 100)
    network.init_output_bias(ages)
    torch.nn.init.zeros_(network.top.weight)
    with torch.no_grad():
        estimate = decode(network(torch.zeros(1, 32, 32, 3, dtype=torch.uint8)))
    assert estimate.age_years.item() == pytest.approx(30, abs=4)
    if head == "distribution":
        assert estimate.p_under_18.item() == pytest.approx(1 / 3, abs=0.05)
