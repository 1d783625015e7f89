import torch

from model.photos.augment import augment


def test_augmented_photo_differs_and_keeps_its_shape():
    grey = torch.linspace(0, 255, 64).round().to(torch.uint8)
    photos = grey.view(1, 1, 64, 1).expand(6, 64, 64, 3)
    varied = augment(photos, torch.Generator().manual_seed(0), 1.0, 0.5)
    assert (varied.shape, varied.dtype) == (photos.shape, torch.uint8)
    middle = varied[:, 16:48, 16:48].float()
    slopes = middle[:, :, -8:].mean(dim=(1, 2, 3)) - middle[:, :, :8].mean(dim=(1, 2, 3))
    assert (slopes > 40).any()
    assert (slopes < -40).any()  # mirrored
    assert not torch.equal(varied[0], varied[1])
    assert torch.equal(varied, augment(photos, torch.Generator().manual_seed(0), 1.0, 0.5))


def test_photo_without_variation_is_unchanged_or_mirrored():
    photos = torch.randint(0, 256, (20, 33, 33, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    varied = augment(photos, torch.Generator().manual_seed(1), 0.0, 0.0)
    same = [torch.equal(augmented, photo) for augmented, photo in zip(varied, photos, strict=True)]
    mirrored = [torch.equal(augmented, photo.flip(1)) for augmented, photo in zip(varied, photos, strict=True)]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 0 < sum(same) < 20


def test_given_share_of_photos_has_one_grey_rectangle_of_limited_size():
    photos = torch.full((400, 50, 50, 3), 10, dtype=torch.uint8)
    varied = augment(photos, torch.Generator().manual_seed(0), 0.0, 0.5)
    erased = varied != 10
    assert set(varied.unique().tolist()) == {10, 124}
    areas = erased[..., 0].float().mean(dim=(1, 2))
    assert 150 < int((areas > 0).sum()) < 250
    assert 0.01 < float(areas[areas > 0].min()) < 0.04
    assert 0.18 < float(areas.max()) < 0.22
    for photo in erased[areas > 0]:
        assert torch.equal(photo[..., 0], photo.any(dim=2))
        rows, columns = photo[..., 0].any(dim=1), photo[..., 0].any(dim=0)
        assert torch.equal(photo[..., 0], rows[:, None] & columns)
        for line in (rows, columns):  # in one piece
            assert int((line[1:] & ~line[:-1]).sum()) + int(line[0]) == 1
        assert 1 / 2.5 < rows.sum() / columns.sum() < 2.5
    assert erased.any(dim=(0, 2, 3))[1:-1].all()  # any row may be erased
    assert erased.any(dim=(0, 1, 3))[1:-1].all()
