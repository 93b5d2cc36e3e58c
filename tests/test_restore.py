"""Claims about the command for photographs: which files it reads, refuses and writes, and nothing half done."""

import os
import shutil
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import tifffile
from PIL import Image

from data.drawings import drawn_pages
from data.formats import save_pixels
from data.images import load_picture, load_pixels, to_pixels
from tests.helpers import refusal
from utils.restore import __main__ as command
from utils.restore.restoring import Restored, restore

PIXELS = np.random.default_rng(0).integers(1, 256, size=(20, 30, 3), dtype=np.uint8)


@pytest.fixture
def turned(monkeypatch):
    """In place of restoring: the command writes negatives, so it is seen at once which files are written."""
    figures = {"one": 0.25, "other": 0.5}
    restore = Mock(side_effect=lambda pixels, *how: Restored(np.iinfo(pixels.dtype).max - pixels, "turned", figures))
    monkeypatch.setattr(command, "restore", restore)
    return restore


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_pixels(PIXELS, Path("a.png"))
    save_pixels(np.uint8(255 * (np.arange(600).reshape(20, 30) < 9)), Path("mask.png"))
    return tmp_path


def run(*words):
    command.main(list(map(str, words)))


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_its_options_reach_what_restores_and_it_says_what_that_found_compared_and_wrote(turned, folder, capsys):
    """So do the tables of a JPEG: see test_real_damage.py. A mask may be inverted."""
    run("--image", "a.png")
    found, wrote = capsys.readouterr().out.splitlines()
    assert found == "a.png: turned" and wrote.startswith("restored.png: 30 x 20 pixels in ")
    run("--image", "a.png", "--output", "b.png", "--damage", "specks", "--verbose")
    assert "errors where the damage was put once more: one 0.25000, other 0.50000" in capsys.readouterr().out
    run("--image", "a.png", "--output", "d.png", "--learn", "specks")
    given = [call.args[1:4] for call in turned.call_args_list]
    assert given == [("auto", None, "none"), ("specks", None, "none"), ("auto", None, "specks")]
    save_pixels(255 - load_pixels("mask.png"), Path("mask.png"))
    run("--image", "a.png", "--output", "c.png", "--mask", "mask.png")
    assert "of the picture: is it inverted?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image", "small.png"], "image is 40 x 15 pixels; allowed: at least 16 x 16, one patch"),
        (["--output", "out.gif"], "output is 'out.gif'; allowed for an image of 8 bits: a name in .png"),
        (["--image", "wide.bmp", "--output", "out.webp"], "output is 'out.webp'; allowed for an image of 8 bits"),
        (["--output", "a.png/b.png"], "is no folder that may be written to"),
        (["--image", "a.png", "--learn", "missing_blocks"], "estimated from the image; allowed: 0.002 to 1"),
        (["--damage", "rain"], "--damage is rain; allowed: auto, specks"),
        (["--image", "a.png", "--mask", "small.png"], "has 40 x 15 pixels; allowed: 30 x 20"),
        (["--image", "camera", "lena"], "there are 2 images; allowed: with --output-dir"),
        (["--image", "in/a.png", "a.png", "--output-dir", "out"], "two images would become out"),
        (["--image", "a.png", "--output", "b.png", "--output-dir", "out"], "allowed: one of the two"),
        (["--image", "a.png", "camera", "--output-dir", "out", "--mask", "mask.png"], "a mask is for one image"),
        (["--image", "a.png", "--mask", "mask.png", "--learn", "specks"], "there is a mask; allowed: no damage or le"),
        (["--image", "a.png", "--damage", "specks", "--learn", "specks"], "damage is specks; allowed: no learn"),
        (["--image", "empty"], "a folder without images"),
    ],
)
def test_what_does_not_fit_is_one_line_exit_code_2_and_no_file(arguments, message, folder, capsys):
    for name, shape in {"small.png": (15, 40), "wide.bmp": (16, 17_000)}.items():
        save_pixels(np.zeros(shape, dtype=np.uint8), Path(name))
    Path("empty").mkdir()
    before = contents(folder)
    assert message in refusal(capsys, run, *arguments)
    assert contents(folder) == before


@pytest.mark.parametrize("options", [[], ["--output", "restored.png"], ["--output-dir", "restored"]], ids=" ".join)
def test_a_file_that_is_there_is_replaced_with_overwrite_alone(options, turned, folder, capsys):
    run("--image", "a.png", *options)
    output = Path("restored/a.png" if "--output-dir" in options else "restored.png")
    output.write_bytes(b"somebody's")
    capsys.readouterr()
    said = refusal(capsys, run, "--image", "a.png", *options)
    assert f"output '{output}' is there already; allowed: another name, or --overwrite" in said
    assert output.read_bytes() == b"somebody's"
    run("--image", "a.png", *options, "--overwrite")
    np.testing.assert_array_equal(load_pixels(str(output)), 255 - PIXELS)


LINKS = {  # a name for a file that is read
    "the name": lambda read: Path(read),
    "a symbolic link": lambda read: Path("link.png").symlink_to(read) or Path("link.png"),
    "a hard link": lambda read: os.link(read, "link.png") or Path("link.png"),
    "another folder": lambda read: Path("folder").symlink_to(Path.cwd(), target_is_directory=True) or f"folder/{read}",
}


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("read", ["a.png", "mask.png"])
def test_no_file_that_is_read_is_an_output_also_with_overwrite(kind, read, folder, capsys):
    words = "--image", "a.png", "--mask", "mask.png", "--overwrite", "--output", LINKS[kind](read)
    before = contents(folder)
    assert "a file that is read; allowed: another name" in refusal(capsys, run, *words)
    assert contents(folder) == before


def test_no_picture_of_several_is_an_output_of_another_and_no_folder_is_one(turned, folder, capsys):
    Path("out/a.png").mkdir(parents=True)
    Image.fromarray(PIXELS).save("out/c.bmp")
    Path("out/b.png").symlink_to("c.bmp")
    before = contents(folder)
    with pytest.raises(SystemExit):
        run("--image", "a.png", shutil.copy("a.png", "b.png"), "out/c.bmp", "--output-dir", "out", "--overwrite")
    assert capsys.readouterr().err.count("a file that is read; allowed: another name") == 3
    assert contents(folder) == before | {folder / "b.png": before[folder / "a.png"]}


def test_a_command_that_is_stopped_while_it_writes_leaves_all_as_it_was(turned, folder, monkeypatch, capsys):
    def stopped(pixels, path, **more):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    save_pixels(PIXELS, Path("there.png"))
    before = contents(folder)
    monkeypatch.setattr(command, "save_pixels", stopped)
    for output in ("new.png", "there.png"):
        with pytest.raises(SystemExit) as ended:
            run("--image", "a.png", "--output", output, "--overwrite")
        assert ended.value.code == 130 and "nothing of the picture at work was written" in capsys.readouterr().err
    assert contents(folder) == before


def test_nothing_that_happens_to_one_picture_of_a_folder_stops_the_others(folder, capsys, monkeypatch):
    for place in ("in", "out"):
        Path(place).mkdir()
    page = to_pixels(drawn_pages(2)[1][100:180, 100:200], np.uint8)
    pepper = np.where(np.random.default_rng(0).random(page.shape) < 0.02, page.min(), page)
    grey, mistake, colours = map(Image.fromarray, (page, PIXELS, np.stack([pepper] * 3, axis=2)))
    colours.save("in/colours.png"), colours.quantize().save("in/palette.png"), mistake.save("in/mistaken.png")
    grey.save("in/last.bmp"), grey.save("in/there.jpg")
    for path in ("in/broken.png", "out/there.png"):
        Path(path).write_bytes(b"somebody's")

    def mistaken(pixels, *arguments):
        if pixels.shape == PIXELS.shape:
            raise ZeroDivisionError("a mistake\nin code")
        return restore(pixels, *arguments)

    monkeypatch.setattr(command, "restore", mistaken)
    with pytest.raises(SystemExit) as stopped:
        run("--image", "in", "--output-dir", "out")
    out, errors = capsys.readouterr()
    assert stopped.value.code == 2 and "3 of 6 pictures were not restored" in errors
    assert "'in/broken.png' cannot be read" in errors and "'out/there.png' is there already" in errors
    assert "Traceback" in errors and "error: in/mistaken.png: a mistake in code\n" in errors
    assert sorted(os.listdir("out")) == ["colours.png", "last.bmp", "palette.png", "there.png"]
    np.testing.assert_array_equal(load_pixels("out/last.bmp"), page)
    for name in ("colours", "palette"):
        assert f"in/{name}.png: black specks" in out
        assert (load_pixels(f"out/{name}.png") != load_pixels(f"in/{name}.png")).any()
    assert Path("out/there.png").read_bytes() == b"somebody's"
    with pytest.raises(ZeroDivisionError):
        run("--image", "in/mistaken.png")


def test_every_picture_of_a_folder_has_a_result_of_its_own_and_what_is_not_read_is_named(turned, folder, capsys):
    Path("in").mkdir()
    for name in ("a.jpg", "a.png", "b.gif", "c.avif", "d.jp2", "e.tif", ".hidden.png"):
        Image.fromarray(PIXELS).save(f"in/{name}")
    for name in ("notes.txt", "x.raw", ".DS_Store"):
        Path("in", name).write_text("no picture")
    run("--image", "in", "--output-dir", "out")
    assert sorted(os.listdir("out")) == ["a_jpg.png", "a_png.png", "b.png", "c.png", "d.png", "e.tif"]
    assert capsys.readouterr().err == "not read: in/notes.txt, in/x.raw\n"
    np.testing.assert_array_equal(load_pixels("out/a_png.png"), 255 - PIXELS)


def test_a_stack_is_restored_page_by_page_and_stays_one(turned, folder, capsys):
    pages = np.random.default_rng(0).integers(65536, size=(3, 20, 30, 4), dtype=np.uint16)
    tifffile.imwrite("stack.tif", pages, photometric="rgb", extrasamples=["unspecified"])
    run("--image", "stack.tif", "--mask", "mask.png", "--output-dir", "out")
    assert "stack.tif, page 2 of 3: turned\n" in capsys.readouterr().out
    with tifffile.TiffFile("out/stack.tif") as file:
        assert len(file.pages) == 3
        np.testing.assert_array_equal(file.asarray()[..., :3], 65535 - pages[..., :3])
        np.testing.assert_array_equal(file.asarray()[..., 3], pages[..., 3])
    said = refusal(capsys, run, "--image", "stack.tif", "--output", "one.png")
    assert "allowed for an image of 16 bits and 3 pages: a name in .tif, .tiff" in said and turned.call_count == 3
    tifffile.imwrite("stack.tif", pages[0, :16], photometric="rgb", extrasamples=["unspecified"], append="force")
    assert "its 4 pages are not alike in shape and type" in refusal(capsys, run, "--image", "stack.tif")


def test_that_the_damage_goes_on_beside_the_mask_is_said(turned, folder, capsys):
    marked = np.pad(np.full((8, 8), 255, np.uint8), 16)
    save_pixels(np.maximum(marked, 100), Path("a.png"))
    for name, mask in {"exact.png": marked, "small.png": np.pad(marked[17:23, 17:23], 17)}.items():
        save_pixels(mask, Path(name))
        run("--image", "a.png", "--mask", name, "--output-dir", name[:-4])
        assert ("a.png: the rim of the mask looks damaged too" in capsys.readouterr().err) == (name == "small.png")


def test_transparency_is_kept_and_what_is_below_it(folder):
    rgba = np.random.default_rng(0).integers(1, 256, size=(40, 50, 4), dtype=np.uint8)
    rgba[:10, :10, 3] = 0
    Image.fromarray(rgba).save("screenshot.png")
    run("--image", "screenshot.png", "--damage", "specks_of_any_value", "--output", "restored.webp")
    with Image.open("restored.webp") as restored:
        found = np.asarray(restored)
    np.testing.assert_array_equal(found[..., 3], rgba[..., 3])
    np.testing.assert_array_equal(found[:10, :10], rgba[:10, :10])
    assert (found[..., :3] != rgba[..., :3]).any()


def test_infrared_is_kept_in_a_tiff_and_what_is_lost_is_said_before_any_work(turned, folder, monkeypatch, capsys):
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    Image.new("RGB", (40, 40)).save("photograph.jpg", exif=exif, icc_profile=b"profile")
    scan = np.random.default_rng(0).integers(65536, size=(40, 50, 4), dtype=np.uint16)
    tifffile.imwrite("scan.tif", scan, photometric="rgb", extrasamples=["unspecified"])
    run("--image", "scan.tif", "--output-dir", "out")
    np.testing.assert_array_equal(tifffile.imread("out/scan.tif"), np.dstack([65535 - scan[..., :3], scan[..., 3]]))
    assert "will not be in" not in capsys.readouterr().err
    run("--image", "scan.tif", "--output", "out.png")
    np.testing.assert_array_equal(load_picture("out.png").pixels, 65535 - scan[..., :3])
    assert load_picture("out.png").alpha is None
    tifffile.imwrite("profile.tif", scan[..., :3], photometric="rgb", iccprofile=b"profile")
    monkeypatch.setattr(command, "restore", None)  # work is a mistake in code
    for name, lost in (
        ("photograph.jpg", "colour profile and EXIF data"),
        ("profile.tif", "profile.tif: colour profile"),
        ("scan.tif", "such as infrared (a .tif keeps them)"),
    ):
        with pytest.raises(TypeError):
            run("--image", name)
        assert f"{lost} will not be in restored.png" in capsys.readouterr().err
