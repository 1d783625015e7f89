import torch

from model.augment import augment


def test_a_varied_photo_is_still_a_photo_and_no_longer_the_same():
    grey = torch.linspace(0, 255, 64).round().to(torch.uint8)
    photos = grey.view(1, 1, 64, 1).expand(6, 64, 64, 3)
    varied = augment(photos, torch.Generator().manual_seed(0))
    assert (varied.shape, varied.dtype) == (photos.shape, torch.uint8)
    middle = varied[:, 16:48, 16:48].float()
    slopes = middle[:, :, -8:].mean(dim=(1, 2, 3)) - middle[:, :, :8].mean(dim=(1, 2, 3))
    assert (slopes > 40).any()
    assert (slopes < -40).any()  # mirrored
    assert not torch.equal(varied[0], varied[1])
    assert torch.equal(varied, augment(photos, torch.Generator().manual_seed(0)))
