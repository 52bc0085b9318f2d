"""Numbers reach the prose as plain floats, under their names."""

import pytest

from lib import quoting


@pytest.fixture
def stored(monkeypatch):
    kept = {}

    def glue(name, value, display):
        assert display is False
        kept[name] = value

    monkeypatch.setattr(quoting, "glue", glue)
    return kept


def test_numbers_texts_and_intervals_are_stored(stored):
    quoting.quote(n=3, word="higher", gap=(1, 0.5, 1.5))
    assert stored == {"n": 3.0, "word": "higher", "gap": 1.0, "gap_low": 0.5, "gap_high": 1.5}
    assert all(type(value) is not int for value in stored.values())


def test_a_triple_is_a_triple(stored):
    with pytest.raises(ValueError):
        quoting.quote(gap=(1, 2))
