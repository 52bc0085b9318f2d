import pytest

from lib.datasets import records


def test_a_record_is_read_as_it_was_written_or_not_at_all(tmp_path):
    path, record = tmp_path / "x.json", {"a": [1, None], "größe": "\udce9\n"}
    records.write(path, record)
    assert records.read(path) == record
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ValueError):
            records.read(path)
    path.write_bytes(whole[:-3])
    with pytest.raises(ValueError, match="not the one that was written"):
        records.read(path)
    path.unlink()
    with pytest.raises(OSError):
        records.read(path)
