"""Each reader against made files of its layout, odd and broken ones among them."""

from __future__ import annotations

import copy
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from mrdist.datasets.discovery import LAYOUTS, discover
from mrdist.errors import DataError, ParameterError
from mrdist.storage.access.files import File, Source


def make(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def shown(root, takes):
    """Return every take as {label: name below the root}, by its name."""
    return {
        take.name: {label: os.fspath(path).removeprefix(f"{root}/") for label, path in take.photographs.items()}
        for take in takes
    }


CASES = {
    "kdef": (
        ["AF01/AF01NES.JPG", "AF01/AF01HAS.JPG", "BF01/BF01NES.JPG", "AM31/am31sus.jpg", "AF01/AF01HAHL.JPG"],
        {
            "F01-A": {"happy": "AF01/AF01HAS.JPG", "neutral": "AF01/AF01NES.JPG"},
            "F01-B": {"neutral": "BF01/BF01NES.JPG"},
            "M31-A": {"surprised": "AM31/am31sus.jpg"},
        },
        ["AF01/AF01HA.JPG", "AF01/CF01NES.JPG", "AF01/AF01XXS.JPG"],
        {"AF01/AF01HAHL.JPG": "its angle is half-left"},
    ),
    "bosphorus": (
        ["bs000/bs000_N_N_0.png", "bs000/bs000_E_HAPPY_0.png", "bs104_E_FEAR_1.png", "bs000/bs000_LFAU_12_0.png"],
        {
            "bs000-0": {"happy": "bs000/bs000_E_HAPPY_0.png", "neutral": "bs000/bs000_N_N_0.png"},
            "bs104-1": {"afraid": "bs104_E_FEAR_1.png"},
        },
        ["bs1_N_N_0.png", "bs000_HAPPY.png"],
        {"bs000/bs000_LFAU_12_0.png": "an action unit"},
    ),
    "jaffe": (
        ["KA.HA1.29.tiff", "KA.NE1.26.tiff", "KA.NE2.27.tiff", "YM.FE1.67.tiff"],
        {
            "KA-1": {"happy": "KA.HA1.29.tiff", "neutral": "KA.NE1.26.tiff"},
            "KA-2": {"neutral": "KA.NE2.27.tiff"},
            "YM-1": {"afraid": "YM.FE1.67.tiff"},
        },
        ["KA.HA.29.tiff", "KAT.HA1.29.tiff"],
        {},
    ),
    "london": (
        [
            "neutral_front/002_03.jpg",
            "neutral_front/003_03.JPG",
            "smiling_front/001_08.jpg",
            "smiling_front/002_08.jpg",
        ],
        {
            "001": {"smiling": "smiling_front/001_08.jpg"},
            "002": {"neutral": "neutral_front/002_03.jpg", "smiling": "smiling_front/002_08.jpg"},
            "003": {"neutral": "neutral_front/003_03.JPG"},
        },
        ["neutral_front/x.jpg", "elsewhere/004_03.jpg"],
        {},
    ),
    "domains": (
        ["trainA/17.jpg", "trainB/17.jpg", "testA/17_A.jpg", "testB/17_B.jpg"],
        {
            "test/17": {"A": "testA/17_A.jpg", "B": "testB/17_B.jpg"},
            "train/17": {"A": "trainA/17.jpg", "B": "trainB/17.jpg"},
        },
        ["trainC/17.jpg", "18.jpg"],
        {},
    ),
    "folders": (
        ["neutral/ann.png", "happy/ann.png", "happy/bob.png"],
        {"ann": {"happy": "happy/ann.png", "neutral": "neutral/ann.png"}, "bob": {"happy": "happy/bob.png"}},
        ["loose.png"],
        {},
    ),
    "expressions": (
        ["neutral/ann/1.png", "happy/ann/7.png", "happy/bob/1.png"],
        {"ann": {"happy": "happy/ann/7.png", "neutral": "neutral/ann/1.png"}, "bob": {"happy": "happy/bob/1.png"}},
        ["loose.png"],
        {},
    ),
    "people": (
        ["ann/neutral/1.png", "ann/happy/1.png", "ann/happy/2.png", "bob/happy/1.png"],
        {
            "ann-1": {"happy": "ann/happy/1.png", "neutral": "ann/neutral/1.png"},
            "ann-2": {"happy": "ann/happy/2.png"},
            "bob-1": {"happy": "bob/happy/1.png"},
        },
        ["loose.png"],
        {},
    ),
    "sides": (
        ["train/1.jpg", "2.jpg"],
        {
            "2": {"left": "2.jpg (left half)", "right": "2.jpg (right half)"},
            "train/1": {"left": "train/1.jpg (left half)", "right": "train/1.jpg (right half)"},
        },
        [],
        {},
    ),
}


@pytest.mark.parametrize("layout", CASES)
def test_names(tmp_path, layout):
    names, takes, unfit, skipped = CASES[layout]
    make(tmp_path, *names, *unfit, "readme.md", ".hidden/x.jpg", "__MACOSX/y.jpg")
    for asked in ("auto", layout)[layout == "sides" :]:
        found = discover(tmp_path, layout=asked)
        assert (found.layout, found.dataset) == (layout, tmp_path.name)
        assert shown(tmp_path, found.takes) == takes
        assert set(found.unfit) == {f"{tmp_path}/{name}" for name in unfit}
        reasons = {os.path.relpath(path, tmp_path): reason for path, reason in found.skipped.items()}
        assert reasons.pop("readme.md", "") in ("", "not a photograph or landmark file")
        assert {name: reason[: len(skipped.get(name, "?"))] for name, reason in reasons.items()} == skipped


def test_every_layout_is_tested():
    assert {*CASES, "manifest"} == set(LAYOUTS)


def test_angles(tmp_path):
    make(tmp_path, *(f"AF0{n}NE{angle}.JPG" for n in range(1, 4) for angle in ("S", "HL", "HR", "FL", "FR")))
    for angle, letters in {"half-right": "HR", "full-left": "FL"}.items():
        (first, *_) = discover(tmp_path, angle=angle).takes
        assert os.fspath(first.photographs["neutral"]).endswith(f"AF01NE{letters}.JPG")
    said = discover(tmp_path).left_out
    assert len(said) == 4
    assert f"3 files like {tmp_path}/AF01NEHL.JPG (pattern AA99AAAA.JPG)" in said
    with pytest.raises(ParameterError, match="'above'"):
        discover(tmp_path, angle="above")
    (tmp_path / "n" / "neutral_front").mkdir(parents=True)
    make(tmp_path, "n/neutral_front/1_2.jpg")
    with pytest.raises(DataError, match="no photograph of angle 'half-left' in the layout london"):
        discover(tmp_path / "n", angle="half-left")


def test_landmarks_and_what_lies_beside(tmp_path):
    names = ["002_03.jpg", "002_03.tem", "003_03.jpg", "002_04.jpg", "009_03.tem", "notes.md"]
    make(tmp_path, *(f"neutral_front/{name}" for name in names), "info.csv")
    found = discover(tmp_path)
    assert [os.fspath(take.landmarks.get("neutral", "")) for take in found.takes] == [
        f"{tmp_path}/neutral_front/002_03.tem",
        "",
    ]
    assert {Path(path).name: reason for path, reason in found.left_out.items()} == {
        "002_04.jpg": "002_03.jpg is used for the same person and label",
        "009_03.tem": "no photograph of the same name is used",
        "notes.md": "not a photograph or landmark file",
    }


def test_unclear_layouts_say_what_was_tried(tmp_path):
    make(tmp_path, "KA.HA1.29.tiff", "AF01NES.JPG", "x.png")
    with pytest.raises(DataError, match=r"such as AF01NES.JPG, these numbers fit: kdef 1, .*jaffe 1, .*--layout"):
        discover(tmp_path)
    assert len(discover(tmp_path, layout="jaffe").takes) == 1
    with pytest.raises(
        DataError, match=r"no photograph in the layout london .*; 3 photographs do not fit it, \S+ for one"
    ):
        discover(tmp_path, layout="london")
    with pytest.raises(ParameterError, match=r"auto, kdef, .*got 'paris'"):
        discover(tmp_path, layout="paris")
    with pytest.raises(DataError, match="There is no folder or archive"):
        discover(tmp_path / "no")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no photograph"):
        discover(tmp_path / "empty")


# --- manifests -----------------------------------------------------------------------------------------

ROWS = [
    {"path": "a/1.jpg", "subject": "ann", "expression": "neutral", "landmarks": "a/1.pts", "split": "test"},
    {"path": "a/2.jpg", "subject": "ann", "expression": "happy", "landmarks": "", "split": "test"},
    {"path": "a/3.jpg", "subject": "bob", "expression": "happy", "landmarks": "", "split": ""},
    {"path": "a/4.jpg", "subject": "bob", "expression": "sad", "landmarks": "", "split": ""},
    {"path": "../b.jpg", "subject": "eve", "expression": "sad", "landmarks": "", "split": ""},
    {"path": "a/1.jpg", "subject": "", "expression": "sad", "landmarks": "", "split": ""},
    {"path": "a/1.jpg", "subject": "cid", "expression": "sad", "landmarks": "a/9.pts", "split": ""},
    {"path": "a/1.jpg", "subject": "cid", "expression": "sad", "landmarks": "", "split": "fold1"},
]


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.parquet", "people.csv"])
def test_manifest(tmp_path, name):
    make(tmp_path, "a/1.jpg", "a/1.pts", "a/2.jpg", "a/3.jpg", "a/5.jpg")
    if name.endswith(".csv"):
        lines = [",".join(ROWS[0]), *(",".join(row.values()) for row in ROWS)]
        (tmp_path / name).write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")
    else:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        table = pyarrow.Table.from_pylist([{key: value or None for key, value in row.items()} for row in ROWS])
        parquet.write_table(table, tmp_path / name)
    found = discover(tmp_path if name.startswith("manifest") else tmp_path / name)
    assert (found.layout, found.dataset) == ("manifest", tmp_path.name)
    assert shown(tmp_path, found.takes) == {
        "ann": {"happy": "a/2.jpg", "neutral": "a/1.jpg"},
        "bob": {"happy": "a/3.jpg"},
    }
    assert [take.split for take in found.takes] == ["test", None]
    assert os.fspath(found.takes[0].landmarks["neutral"]) == f"{tmp_path}/a/1.pts"
    reasons = [reason for path, reason in found.unfit.items() if f"/{name} row " in path]
    assert reasons == [
        "the file does not exist",
        "the path leads out of the folder",
        "subject must not be empty",
        "the landmark file a/9.pts does not exist",
        "the split must be train, val or test, not 'fold1'",
    ]
    assert found.skipped == {f"{tmp_path}/a/5.jpg": "the manifest does not name it"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,subject\na/1.jpg,ann\n", "lacks the column expression; it has path, subject"),
        ("path,subject,expression\n", "has no rows"),
        ("", "has no rows"),
        ("path,subject,expression,split\na/1.jpg,ann,sad,train\na/2.jpg,ann,happy,test\n", "must be in one split"),
    ],
)
def test_unusable_manifests(tmp_path, text, said):
    make(tmp_path, "a/1.jpg", "a/2.jpg")
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        discover(tmp_path)


def test_manifest_that_is_no_text(tmp_path):
    for name in ("manifest.csv", "manifest.parquet"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00nothin")
        with pytest.raises(DataError, match=f"{name} cannot be read"):
            discover(tmp_path)
        if name == "manifest.csv":
            (tmp_path / name).unlink()
    (tmp_path / "manifest.csv").touch()
    with pytest.raises(DataError, match=r"holds manifest.csv and manifest.parquet"):
        discover(tmp_path)


# --- links and archives --------------------------------------------------------------------------------


def test_links_out_of_the_folder_are_refused(tmp_path):
    make(tmp_path, "secret/bob.png", "in/neutral/ann.png", "in/happy/ann.png")
    (tmp_path / "in" / "happy" / "bob.png").symlink_to(tmp_path / "secret" / "bob.png")
    (tmp_path / "in" / "more").symlink_to(tmp_path / "secret")
    (tmp_path / "in" / "happy" / "cid.png").symlink_to("ann.png")
    found = discover(tmp_path / "in")
    assert sorted(shown(tmp_path, found.takes)) == ["ann", "cid"]
    assert {Path(path).name for path, reason in found.unfit.items() if "leads out of" in reason} == {"bob.png", "more"}


def archive(path, members):
    """Write a zip or tar with members of these names and contents; a content None is a link."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in members.items():
                entry = zipfile.ZipInfo(name)
                entry.compress_type = zipfile.ZIP_DEFLATED
                if content is None:
                    entry.external_attr = 0o120777 << 16
                file.writestr(entry, content if content is not None else "/etc/passwd")
    else:
        with tarfile.open(path, "w") as file:
            for name, content in members.items():
                entry = tarfile.TarInfo(name)
                if content is None:
                    entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
                entry.size = len(content or b"")
                file.addfile(entry, io.BytesIO(content or b""))
    return path


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_archives_are_read_like_folders(tmp_path, suffix):
    path = archive(tmp_path / f"jaffe{suffix}", {"j/KA.HA1.29.tiff": b"happy", "j/KA.NE1.26.tiff": b"neutral"})
    found = discover(path)
    assert (found.layout, found.dataset) == ("jaffe", "jaffe")
    (take,) = found.takes
    assert {label: File.of(file).read_bytes() for label, file in take.photographs.items()} == {
        "happy": b"happy",
        "neutral": b"neutral",
    }
    assert str(take.photographs["happy"]) == f"{path}/j/KA.HA1.29.tiff"
    # another archive at the same path is not taken for the one that was read
    archive(path, {"j/KA.HA1.29.tiff": b"another smile", "j/KA.NE1.26.tiff": b"neutral"})
    assert Source.open(path).file("j/KA.HA1.29.tiff").read_bytes() == b"another smile"


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"../KA.HA1.29.tiff": b"x"}, r"holds '\.\./KA.HA1.29.tiff', which leads out of it"),
        ({"/KA.HA1.29.tiff": b"x"}, "which leads out of it"),
        ({"KA.HA1.29.tiff": b"x", "KA.NE1.26.tiff": None}, "holds the link 'KA.NE1.26.tiff'"),
    ],
)
def test_archives_that_are_not_safe(tmp_path, suffix, members, said):
    with pytest.raises(DataError, match=said):
        discover(archive(tmp_path / f"a{suffix}", members))


def test_decompression_bombs(tmp_path):
    bomb = archive(tmp_path / "bomb.zip", {f"KA.HA{n}.29.tiff": bytes(8 << 20) for n in range(3)})
    with pytest.raises(DataError, match=r"would unpack from \d+ to 25165824 bytes, more than 100 times"):
        discover(bomb)
    with zipfile.ZipFile(tmp_path / "shared.zip", "w") as file:  # two hundred members in the bytes of one
        file.writestr("KA.HA1.29.tiff", os.urandom(1 << 16))
        for n in range(200):
            member = copy.copy(file.filelist[0])
            member.filename = f"KA.HA2.{n}.tiff"
            file.filelist.append(member)
    with pytest.raises(DataError, match=r"would unpack from \d+ to \d+ bytes, more than 100 times"):
        discover(tmp_path / "shared.zip")


def test_damaged_archives(tmp_path):
    for name, content in (("a.zip", b"PK no zip"), ("a.tar", b"no tar" * 200)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name} cannot be listed"):
            discover(tmp_path / name)
    (tmp_path / "a.tar.gz").touch()
    with pytest.raises(DataError, match="compressed as a whole"):
        discover(tmp_path / "a.tar.gz")
    path = archive(tmp_path / "b.zip", {"KA.HA1.29.tiff": os.urandom(1000)})
    content = bytearray(path.read_bytes())
    content[500] ^= 255
    path.write_bytes(content)
    (take,) = discover(path).takes
    with pytest.raises(OSError, match="damaged"):
        File.of(take.photographs["happy"]).read_bytes()
