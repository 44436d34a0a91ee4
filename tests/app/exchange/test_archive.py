"""ZIP files: what is packed comes back, and what a hostile one holds is refused before it does harm."""

import stat
from zipfile import ZIP_DEFLATED, ZIP_LZMA, ZipFile, ZipInfo

import pytest

from app.exchange import archive
from app.exchange.archive import pack, unpack
from dgpo_core.errors import ExchangeError


def files_below(folder):
    return {one.relative_to(folder).as_posix(): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def packed(path, *entries, compression=ZIP_DEFLATED):
    with ZipFile(path, "w", compression) as written:
        for name, data in entries:
            written.writestr(name, data)
    return path


def test_what_is_packed_comes_back_as_it_was(tmp_path):
    (tmp_path / "from" / "a b" / "ü").mkdir(parents=True)
    (tmp_path / "from" / "a b" / "ü" / "1.png").write_bytes(b"picture")
    (tmp_path / "from" / "list.jsonl").write_bytes(b"")
    pack(tmp_path / "from", tmp_path / "one.zip")
    unpack(tmp_path / "one.zip", tmp_path / "to")
    assert files_below(tmp_path / "to") == {"a b/ü/1.png": b"picture", "list.jsonl": b""}


def test_what_operating_systems_add_is_left_out(tmp_path):
    packed(tmp_path / "one.zip", ("a/1.png", b"1"), ("__MACOSX/a/._1.png", b"2"), ("a/.DS_Store", b"3"))
    unpack(tmp_path / "one.zip", tmp_path / "to")
    assert files_below(tmp_path / "to") == {"a/1.png": b"1"}


def link(target="/etc/passwd"):
    entry = ZipInfo("link.png")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry, target


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (("../out.png", b"x"), r"The entry '\.\./out\.png' leads out of the folder"),
        (("a/../../out.png", b"x"), "leads out of the folder"),
        (("/etc/out.png", b"x"), "leads out of the folder"),
        (("..\\out.png", b"x"), "leads out of the folder"),
        (("C:/out.png", b"x"), "leads out of the folder"),
        (("C:\\out.png", b"x"), "leads out of the folder"),
        (link(), r"The entry 'link\.png' is a link"),
        (("fine.png", b"again"), r"The entry 'fine\.png' is there twice"),
        (("fine.png/below.png", b"x"), r"The entry 'fine\.png/below\.png' is there twice"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_a_hostile_entry_is_refused_and_nothing_lies_outside(tmp_path, entry, words):
    packed(tmp_path / "one.zip", ("fine.png", b"x"), entry)
    with pytest.raises(ExchangeError, match=words):
        unpack(tmp_path / "one.zip", tmp_path / "below" / "to")
    assert set(files_below(tmp_path)) <= {"one.zip", "below/to/fine.png"}
    assert not any(one.is_symlink() for one in tmp_path.rglob("*"))


def test_a_bomb_is_stopped_while_it_is_unpacked(tmp_path):
    packed(tmp_path / "bomb.zip", ("zeros", bytes(20_000_000)))
    assert (tmp_path / "bomb.zip").stat().st_size < 100_000
    with pytest.raises(ExchangeError, match=r"bomb\.zip unpacks to more than the lab takes at once"):
        unpack(tmp_path / "bomb.zip", tmp_path / "to", most_bytes=5_000_000)
    assert sum(map(len, files_below(tmp_path / "to").values())) <= 5_000_000


def test_an_entry_that_says_it_is_small_is_not_believed(tmp_path):
    """Its header and its place in the list say one byte; what is unpacked is checked against that."""
    path = packed(tmp_path / "liar.zip", ("zeros", bytes(1_000_000)))
    path.write_bytes(path.read_bytes().replace((1_000_000).to_bytes(4, "little"), (1).to_bytes(4, "little")))
    with pytest.raises(ExchangeError, match=r"liar\.zip cannot be unpacked"):
        unpack(path, tmp_path / "to")


def test_too_many_entries_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_ENTRIES", 2)
    packed(tmp_path / "one.zip", *((f"{n}.png", b"x") for n in range(3)))
    with pytest.raises(ExchangeError, match=r"one\.zip holds 3 files; at most 2 are taken"):
        unpack(tmp_path / "one.zip", tmp_path / "to")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda data: b"no archive", "cannot be unpacked: File is not a zip file"),
        (lambda data: data[: len(data) // 2], "cannot be unpacked"),
        (lambda data: data.replace(b"x" * 50, b"y" * 50), "cannot be unpacked: Bad CRC-32"),
        (lambda data: data.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"), "password"),
    ],
)
def test_what_is_no_whole_zip_file_is_said(tmp_path, spoil, words):
    path = packed(tmp_path / "one.zip", ("a.txt", b"x" * 50), compression=0)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ExchangeError, match=words):
        unpack(path, tmp_path / "to")


def test_an_entry_without_a_name_is_said(tmp_path):
    packed(tmp_path / "one.zip", (ZipInfo(""), b"x"))
    with pytest.raises(ExchangeError, match="cannot be unpacked: an entry has no name"):
        unpack(tmp_path / "one.zip", tmp_path / "to")


def test_unusual_compression_is_refused(tmp_path):
    packed(tmp_path / "one.zip", ("a.txt", b"x" * 50), compression=ZIP_LZMA)
    with pytest.raises(ExchangeError, match="compressed in an unusual way"):
        unpack(tmp_path / "one.zip", tmp_path / "to")
