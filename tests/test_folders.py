"""Folders, archives and tables as people have them: enclosed, split, linked, from other systems and spreadsheets."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile

import commands
import pytest
from PIL import Image

from mrdist.datasets.discovery import discover
from mrdist.errors import DataError
from mrdist.storage.access.files import File, Source

PAIR = {"ann": {"happy": "happy/ann.png", "neutral": "neutral/ann.png"}}


def write(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def packed(path, *names, create_system=3):
    """Pack members that hold their own names."""
    if path.suffix == ".tar":
        with tarfile.open(path, "w") as archive:
            for name in names:
                entry = tarfile.TarInfo(name)
                entry.size = len(name.encode())
                archive.addfile(entry, io.BytesIO(name.encode()))
        return path
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo(name)
            entry.create_system = create_system
            archive.writestr(entry, "" if name.endswith(("/", "\\")) else name)
    return path


def people(source, **options):
    """Return the photographs of every take, as the source spells them, and its layout."""
    found = discover(source, **options)
    assert found.unfit == {}
    takes = {
        take.name: {label: os.fspath(file).removeprefix(f"{source}/") for label, file in take.photographs.items()}
        for take in found.takes
    }
    for take in found.takes:  # what is listed can be read
        for label, file in take.photographs.items():
            assert label.encode() in File.of(file).read_bytes()
    return found.layout, takes


# --- archives ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("above", ["", "faces/", "a b/faces/Größe/"])
@pytest.mark.parametrize("suffix", [".zip", ".tar", ""])
def test_enclosing_folders_play_no_part(tmp_path, above, suffix):
    names = [f"{above}{label}/ann.png" for label in ("happy", "neutral")]
    names += [f"__MACOSX/{above}happy/._ann.png", f"{above}.DS_Store", f"{above}happy/._ann.png"]
    names += [f"{above}happy/Thumbs.db", f"{above}happy/desktop.ini", f"{above}happy/.ipynb_checkpoints/ann.png"]
    source = packed(tmp_path / f"in{suffix}", *names) if suffix else write(tmp_path / "in", *names)
    expected = {"ann": {label: f"{above}{label}/ann.png" for label in ("happy", "neutral")}}
    assert people(source) == people(source, layout="folders") == ("folders", expected)
    assert discover(source).skipped == {}


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        ("london", ["neutral_front/001_03.jpg", "smiling_front/001_08.jpg"]),
        ("domains", ["trainA/17.jpg", "trainB/17.jpg"]),
        ("kdef", ["AF01/AF01NES.JPG", "AF01/AF01HAS.JPG"]),
        ("bosphorus", ["bs000/bs000_N_N_0.png", "bs000/bs000_E_HAPPY_0.png"]),
        ("jaffe", ["KA.HA1.29.tiff", "KA.NE1.26.tiff"]),
        ("expressions", ["happy/ann/1.png", "happy/bob/1.png", "neutral/ann/1.png", "neutral/bob/1.png"]),
        ("people", ["ann/happy/1.png", "ann/neutral/1.png", "bob/happy/1.png", "bob/neutral/1.png"]),
        ("people", ["ann/happy.png", "ann/neutral.png", "bob/happy.png", "bob/neutral.png"]),
        ("folders", ["A/1.png", "B/1.png"]),
    ],
)
def test_every_layout_is_found_below_enclosing_folders(tmp_path, layout, names):
    above = packed(tmp_path / "above.zip", *(f"one/two words/{name}" for name in names))
    bare = packed(tmp_path / "bare.zip", *names)
    for asked in ("auto", layout):
        found, plain = discover(above, layout=asked), discover(bare, layout=asked)
        assert found.layout == plain.layout == layout
        assert bool(found.reason) == (asked == "auto")
        assert [(take.name, take.split, sorted(take.photographs)) for take in found.takes] == [
            (take.name, take.split, sorted(take.photographs)) for take in plain.takes
        ]


def test_a_zip_of_windows(tmp_path):
    names = ["faces\\", "faces\\neutral\\ann.PNG", "faces\\happy\\ann.PNG", "faces\\happy\\Thumbs.db"]
    source = packed(tmp_path / "faces.zip", *names, create_system=0)
    assert discover(source).layout == "folders"
    (take,) = discover(source).takes
    assert {label: File.of(file).read_bytes() for label, file in take.photographs.items()} == {
        "happy": b"faces\\happy\\ann.PNG",
        "neutral": b"faces\\neutral\\ann.PNG",
    }
    with pytest.raises(DataError, match="leads out of it"):
        discover(packed(tmp_path / "out.zip", "faces\\..\\..\\ann.png", create_system=0))


def test_a_tar_with_dots_and_backslashes_in_names(tmp_path):
    source = packed(tmp_path / "faces.tar", "./happy/ann.png", "./neutral/ann.png", "./happy/a\\b.png")
    assert Source.open(source).files == ("happy/a\\b.png", "happy/ann.png", "neutral/ann.png")
    (_, take) = discover(source).takes
    assert File.of(take.photographs["happy"]).read_bytes() == b"./happy/ann.png"


def test_names_that_macos_takes_apart(tmp_path):
    source = packed(tmp_path / "faces.zip", "fro\u0308hlich/Zoe\u0308.png", "neutral/Zo\u00eb.png")
    (take,) = discover(source).takes
    assert (take.name, sorted(take.photographs)) == ("Zo\u00eb", ["fr\u00f6hlich", "neutral"])


# --- splits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("val", ["val", "valid", "Validation", "dev"])
@pytest.mark.parametrize(
    "order", ["{split}/{label}/000.png", "{label}/{split}/000.png", "data/{split}/x/{label}/000.png"]
)
def test_splits_beside_each_other(tmp_path, order, val):
    splits = {"train": "train", val: "val", "test": "test"}
    names = [order.format(split=split, label=label) for split in splits for label in ("happy", "neutral")]
    source = write(tmp_path / "in", *names)
    found = discover(source)
    assert found.layout == "folders"
    assert [(take.name, take.split) for take in found.takes] == sorted(
        (f"{split}/000", split) for split in splits.values()
    )
    assert all(sorted(take.photographs) == ["happy", "neutral"] for take in found.takes)


def test_splits_of_people(tmp_path):
    sides = {"ann": "train", "bob": "train", "cid": "test", "dan": "test"}
    write(tmp_path, *(f"{side}/{who}/{label}/1.png" for who, side in sides.items() for label in ("happy", "sad")))
    takes = {take.name: take.split for take in discover(tmp_path).takes}
    assert takes == {f"{side}/{who}": side for who, side in sides.items()}
    write(tmp_path, "happy/eve/1.png")
    assert list(discover(tmp_path).unfit.values()) == ["the photograph is not in a folder of a split, as others are"]


def test_a_single_split_encloses(tmp_path):
    write(tmp_path, "test/happy/ann.png", "test/neutral/ann.png")
    assert [(take.name, take.split) for take in discover(tmp_path).takes] == [("ann", None)]


# --- orders of folders ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "layout", "takes"),
    [
        (
            ["happy/ann_happy.png", "neutral/ann_neutral.png"],
            "folders",
            {"ann": {"happy": "happy/ann_happy.png", "neutral": "neutral/ann_neutral.png"}},
        ),
        (["happy/images/ann.png", "neutral/images/ann.png"], "folders", None),
        # numbers that count on pair nothing: one photograph each
        (
            ["ann/happy/021.png", "ann/neutral/020.png", "bob/happy/023.png", "bob/neutral/022.png"],
            "people",
            {
                "ann": {"happy": "ann/happy/021.png", "neutral": "ann/neutral/020.png"},
                "bob": {"happy": "bob/happy/023.png", "neutral": "bob/neutral/022.png"},
            },
        ),
        (
            ["01_Happiness/S1/3.png", "02_Anger/S1/9.png", "02_Anger/S2/4.png"],
            "expressions",
            {
                "S1": {"01_Happiness": "01_Happiness/S1/3.png", "02_Anger": "02_Anger/S1/9.png"},
                "S2": {"02_Anger": "02_Anger/S2/4.png"},
            },
        ),
    ],
)
def test_orders(tmp_path, names, layout, takes):
    found = people(write(tmp_path, *names))
    assert found[0] == layout
    assert takes is None or found[1] == takes


def test_an_order_that_is_not_clear_names_the_candidates(tmp_path):
    names = [f"{part}/{label}/{n}.png" for n, part in enumerate("ab") for label in ("happy", "sad")]
    write(tmp_path, *names)
    with pytest.raises(DataError, match=r"choose one of these: --layout people: .*\(a, b\).*; or --layout folders: "):
        discover(tmp_path)
    assert {take.subject for take in discover(tmp_path, layout="people").takes} == {"a", "b"}
    assert {take.subject for take in discover(tmp_path, layout="folders").takes} == {"0", "1"}


@pytest.mark.parametrize(
    "names",
    [
        ["happy/1.png", "neutral/2.png"],  # nobody has two
        ["train/1.png", "test/1.png"],  # splits, and no expression
        ["1.png", "2.png"],
        ["x/a/1.png", "x/b/1.png", "y/a/1.png", "y/b/1.png"],  # no word for an expression anywhere
    ],
)
def test_folders_that_say_too_little(tmp_path, names):
    with pytest.raises(DataError, match=r"is not clear: .*--layout: .*folders, expressions, people, sides"):
        discover(write(tmp_path, *names))


# --- links ---------------------------------------------------------------------------------------------


def snapshot(root):
    """Lay files as the cache of a model hub does: names are links to blobs beside."""
    for label in ("happy", "neutral"):
        write(root, f"blobs/{label}.png")
        path = root / "snapshots" / "main" / label / "ann.png"
        path.parent.mkdir(parents=True)
        path.symlink_to(os.path.relpath(root / "blobs" / f"{label}.png", path.parent))
    return root / "snapshots" / "main"


def test_links_are_followed_if_so_asked(tmp_path):
    source = snapshot(tmp_path / "cache")
    with pytest.raises(DataError, match="holds no photograph; 2 files are links that lead out of it: --follow-links"):
        discover(source)
    assert people(source, follow_links=True) == ("folders", PAIR)
    more = write(tmp_path / "more", "neutral/ann.png")
    (more / "happy").symlink_to(source / "happy")
    (more / "loop").symlink_to(tmp_path)  # and back here
    (more / "none.png").symlink_to(tmp_path / "nothing")
    refused = Source.open(more).refused
    assert sorted(refused) == ["happy", "loop", "none.png"]
    assert all("--follow-links" in reason for reason in refused.values())
    followed = Source.open(more, follow_links=True)
    assert {"happy/ann.png", "neutral/ann.png"} <= set(followed.files)
    assert set(followed.refused.values()) == {"a broken link"}


def test_links_by_the_command_line(tmp_path):
    source = snapshot(tmp_path / "cache")
    for label in ("happy", "neutral"):
        Image.new("L", (16, 24), 99).save(tmp_path / "cache" / "blobs" / f"{label}.png")
    plain = ("ingest", source, tmp_path / "out.zarr", "--align", "none", "--workers", "0")
    assert "--follow-links" in commands.failure(*plain)
    found = commands.report(*plain, "--follow-links")
    assert (found["pairs"], found["left_out"]) == (1, [])
    assert found["sources"] == {
        "main": "folders: folders are expressions (happy, neutral), and equal names are one person"
    }


def test_what_is_no_file_is_passed_over(tmp_path):
    write(tmp_path, "happy/ann.png", "neutral/ann.png")
    os.mkfifo(tmp_path / "happy" / "bob.png")  # whoever opens it waits
    assert people(tmp_path) == ("folders", PAIR)


# --- tables --------------------------------------------------------------------------------------------

TABLES = {
    "upper case": b"Path,Subject,Expression\nx/1.png,ann,happy\nx/2.png,ann,neutral\n",
    "semicolons and a mark": (
        "\ufeffPath;Subject;Expression;Split\r\nx/1.png;ann;happy;Train\r\nx\\2.png;ann;neutral;Train\r\n;;;\r\n"
    ).encode(),
    "told to Excel": b"sep=;\r\npath;subject;expression\r\nx/1.png;ann;happy\r\nx/2.png;ann;neutral\r\n",
    "tabs": b"path\tsubject\texpression\nx/1.png\tann\thappy\nx/2.png\tann\tneutral\n",
    "UTF-16": "Path\tSubject\tExpression\r\nx/1.png\tann\thappy\r\nx/2.png\tann\tneutral\r\n".encode("utf-16"),
    "index of pandas": b",path,subject,expression\n0,x/1.png,ann,happy\n1,x/2.png,ann,neutral\n",
    "quotes and spaces": b'"path" , "subject",expression\n"x/1.png","ann",happy\n./x/2.png , ann,neutral\n',
}


@pytest.mark.parametrize("above", ["", "faces/"])
@pytest.mark.parametrize("table", TABLES)
def test_tables_of_spreadsheets(tmp_path, table, above):
    write(tmp_path, f"{above}x/1.png", f"{above}x/2.png")
    expected = {"ann": {"happy": f"{above}x/1.png", "neutral": f"{above}x/2.png"}}
    for name in ("manifest.csv", "faces.txt"):
        path = tmp_path / above / name
        path.write_bytes(TABLES[table])
        found = discover(tmp_path if name.startswith("manifest") else path)
        base = f"{tmp_path}/{above}" if name == "faces.txt" else f"{tmp_path}/"
        assert found.unfit == {}
        assert {
            label: os.fspath(file).removeprefix(base).removeprefix(above)
            for label, file in found.takes[0].photographs.items()
        } == {label: where.removeprefix(above) for label, where in expected["ann"].items()}
        path.unlink()


def test_paths_that_are_whole_or_told_from_the_source(tmp_path):
    write(tmp_path, "faces/1.png", "faces/2.png")
    (tmp_path / "faces" / "manifest.csv").write_text(
        f"path,subject,expression,split\n{tmp_path}/faces/1.png,ann,happy,dev\nfaces/2.png,ann,sad,valid\n"
    )
    found = discover(tmp_path)
    assert (found.unfit, [take.split for take in found.takes]) == ({}, ["val"])
    write(tmp_path, "3.png")  # beside the folder of the manifest, which then is not that of all
    assert discover(write(tmp_path, "happy/4.png", "neutral/4.png"), layout="folders").layout == "folders"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (b"path,Path,subject,expression\nx/1.png,x/1.png,ann,happy\n", "two columns named 'path'"),
        ("path,subject,expression\nx/1.png,Zo\u00eb,happy\n".encode("cp1252"), "save it as CSV UTF-8"),
        (b"file;who;what\nx/1.png;ann;happy\n", r"lacks the columns path, subject, expression; it has file, who, what"),
    ],
)
def test_tables_that_are_refused(tmp_path, table, said):
    write(tmp_path, "x/1.png")
    (tmp_path / "manifest.csv").write_bytes(table)
    with pytest.raises(DataError, match=said):
        discover(tmp_path)
