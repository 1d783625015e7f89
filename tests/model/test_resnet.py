import pytest
import torch
from torchvision.models import resnet50

from model.resnet import ResNet, folded

PHOTOS = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def seeded(make, **options):
    torch.manual_seed(0)
    return make(**options)


@pytest.mark.parametrize("zero_init_residual", [False, True])
def test_a_seed_gives_the_weights_of_torchvision(zero_init_residual):
    ours = seeded(ResNet, zero_init_residual=zero_init_residual).state_dict()
    theirs = seeded(resnet50, zero_init_residual=zero_init_residual).state_dict()
    assert list(ours) == list(theirs)
    assert [name for name, value in ours.items() if not torch.equal(value, theirs[name])] == []


def test_network_after_ours_is_initialised_as_after_that_of_torchvision():
    seeded(ResNet)
    after_ours = torch.rand(1)
    seeded(resnet50)
    assert torch.equal(after_ours, torch.rand(1))


@pytest.mark.parametrize("training", [False, True])
def test_output_gradients_and_batch_statistics_are_those_of_torchvision(training):
    ours, theirs = seeded(ResNet).train(training), seeded(resnet50).train(training)
    output, expected = ours(PHOTOS), theirs(PHOTOS)
    assert torch.equal(output, expected)
    output.square().sum().backward()
    expected.square().sum().backward()
    for parameter, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(parameter.grad, other.grad)
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


def test_folded_network_has_no_batch_normalisation_and_the_same_output():
    network = seeded(ResNet, n_blocks=(2, 1, 1, 1), width=16)
    with torch.no_grad():
        network(PHOTOS)  # so that the statistics are not 0 and 1
        network.eval()
        before = {name: value.clone() for name, value in network.state_dict().items()}
        output, expected = folded(network)(PHOTOS), network(PHOTOS)
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded(network).modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_folding_a_network_in_training_is_refused():
    with pytest.raises(AssertionError, match="Fusion only for eval"):
        folded(ResNet(n_blocks=(1, 1, 1, 1), width=16))
