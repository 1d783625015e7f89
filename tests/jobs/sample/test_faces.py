import io

import numpy as np
from PIL import Image

from jobs.sample.faces import face_jpeg


def explained_share(features, ages):
    """Return the R squared, on the last third, of a linear regression fitted to the first two thirds."""
    design = np.column_stack([features, np.ones(len(ages))])
    n_fit = 2 * len(ages) // 3
    weights, *_ = np.linalg.lstsq(design[:n_fit], ages[:n_fit])
    rest = ages[n_fit:]
    return 1 - np.sum((rest - design[n_fit:] @ weights) ** 2) / np.sum((rest - rest.mean()) ** 2)


def test_age_can_be_learnt_from_a_face_but_not_from_its_colours():
    ages = np.random.default_rng(3).integers(1, 101, 600)
    images = [Image.open(io.BytesIO(face_jpeg(int(age), [7, n], [8, n]))) for n, age in enumerate(ages)]
    small = np.array([np.asarray(image.resize((20, 20), Image.Resampling.BOX), dtype=float) for image in images])
    colours, grey = small.mean(axis=(1, 2)), small.mean(axis=3).reshape(len(ages), -1)
    grey = (grey - grey.mean(axis=1, keepdims=True)) / grey.std(axis=1, keepdims=True)
    *_, components = np.linalg.svd(grey - grey.mean(axis=0), full_matrices=False)
    assert explained_share(colours, ages) < 0.2
    assert explained_share(grey @ components[:40].T, ages) > 0.4


def test_equal_seeds_give_equal_photos_and_other_seeds_give_other_photos():
    photo = face_jpeg(40, [1], [1])
    assert photo == face_jpeg(40, [1], [1])
    assert photo != face_jpeg(40, [1], [2])
    assert photo != face_jpeg(40, [2], [1])
