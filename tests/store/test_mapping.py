import os
from pathlib import Path

import pytest

from distmtl.store.folder_store import FolderStore
from distmtl.store.mapping import Mappings, is_local


def test_this_machine_has_local_and_other_file_systems(tmp_path):
    assert not is_local("/proc")
    assert is_local(str(tmp_path)) or "tmp" not in str(tmp_path)


def view(mappings, path, offset, length):
    with Path(path).open("rb", buffering=0) as file:
        return mappings.view(file, offset, length)


def test_a_view_is_the_bytes_of_the_file(tmp_path):
    data = os.urandom(10_000)
    (tmp_path / "a").write_bytes(data)
    mappings = Mappings(4)
    for offset, length in ((0, 10_000), (3, 5), (4097, 4096), (9_999, 1)):
        assert bytes(view(mappings, tmp_path / "a", offset, length)) == data[offset : offset + length]
    assert bytes(view(mappings, tmp_path / "a", 9_990, 100)) == data[9_990:]
    assert len(view(mappings, tmp_path / "a", 20_000, 1)) == 0
    assert len(mappings._files) == 1


def test_views_outlive_the_file_and_its_mapping(tmp_path):
    mappings = Mappings(2)
    views = []
    for number in range(5):
        path = tmp_path / str(number)
        path.write_bytes(bytes([number]) * 5000)
        views.append(view(mappings, path, 100, 50))
        path.unlink()
    assert len(mappings._files) == 2
    assert [bytes(found) for found in views] == [bytes([number]) * 50 for number in range(5)]


def test_a_file_that_was_replaced_is_mapped_anew(tmp_path):
    mappings = Mappings(4)
    path = tmp_path / "a"
    path.write_bytes(b"old" * 100)
    assert bytes(view(mappings, path, 0, 3)) == b"old"
    (tmp_path / "b").write_bytes(b"new" * 100)
    (tmp_path / "b").replace(path)
    assert bytes(view(mappings, path, 0, 3)) == b"new"


@pytest.mark.parametrize("local", [True, False])
def test_the_store_says_the_same_either_way(tmp_path, monkeypatch, local):
    monkeypatch.setattr("distmtl.store.folder_store.is_local", lambda _: local)
    store = FolderStore(str(tmp_path))
    store.put("a/b", b"0123456789")
    assert bytes(store.view_range("a/b", 2, 5)) == b"23456"
    with pytest.raises(Exception, match="ends at 10"):
        store.view_range("a/b", 8, 5)
    with pytest.raises(Exception, match="there is no 'a/c'"):
        store.view_range("a/c", 0, 1)
