import pytest

from jobs.tables.bands import DEFAULT_BANDS, age_bands
from model.cli import InputError
from model.evaluation.metrics import BANDS


def test_bands_are_read_from_their_names():
    assert age_bands(["under_18", "18-29", "30_plus"]) == [("under_18", 0, 17), ("18-29", 18, 29), ("30_plus", 30, 120)]
    assert age_bands(["0-120"]) == [("0-120", 0, 120)]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["under_18", "20_plus"], "20_plus begins at 20, it must begin at 18"),
        (["under_18", "17_plus"], "17_plus begins at 17, it must begin at 18"),
        (["under_18", "18-29"], "it ends at 29, it must end at 120"),
        (["18_plus"], "18_plus begins at 18, it must begin at 0"),
        (["under_18", "18-17", "18_plus"], "and not be empty"),
        (["teens"], "'teens'; write a band as under_18, 18-29 or 60_plus"),
        ([], "it must end at 120"),
    ],
)
def test_bands_that_do_not_tile_0_to_120_are_rejected(names, message):
    with pytest.raises(InputError, match=message):
        age_bands(names)


def test_the_page_of_a_labelled_set_has_the_default_bands():
    limits = {name: low for name, (low, _) in BANDS.items()}
    assert limits == {band.age_band: band.from_years for band in age_bands(DEFAULT_BANDS)}
