"""Each error text of `dags/README.md` is raised here by the code that it comes from; `...` stands for anything."""

import re
from pathlib import Path

import pytest

from model.cli import InputError, TryAgainError, on_one_line
from tests.dags.operator_faults import Faults

GUIDE = Path(__file__).resolve().parents[2] / "dags" / "README.md"


def texts(guide: str) -> list[str]:
    """Return the error texts in code spans; a span may continue on the next line."""
    prose = re.sub(r"(?m)^    .*", "", guide)  # without the commands
    spans = (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose))
    return [span for span in spans if re.match(r"error: (?!\.\.\.$)|\w+(Error|Exception): ", span)]


def pattern(text: str) -> str:
    return ".*".join(re.escape(part) for part in text.split("..."))


FAULTS = [name for name in vars(Faults) if not name.startswith("_")]


@pytest.fixture(scope="module")
def provoked() -> dict[str, str]:
    return {}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_error_reads_as_in_the_guide(fault, provoked, tmp_path, monkeypatch, load_dags):
    with pytest.raises(Exception) as raised:  # noqa: PT011 - the text is compared below
        getattr(Faults(tmp_path, monkeypatch, load_dags), fault)()
    error = raised.value
    kind = "error" if isinstance(error, InputError | TryAgainError) else type(error).__name__
    text = f"{kind}: {on_one_line(str(error))}"
    guide = texts(GUIDE.read_text(encoding="utf-8"))
    found = {each for each in guide if re.fullmatch(pattern(each), text)}
    assert found, text
    provoked |= dict.fromkeys(found, text)


def test_the_guide_has_no_error_that_is_not_provoked(provoked):
    if len(provoked) < len(FAULTS) // 2:
        pytest.fail("run the whole file: this test needs the errors that the others provoke")
    missing = set(texts(GUIDE.read_text(encoding="utf-8"))) - provoked.keys()
    assert missing == set()
