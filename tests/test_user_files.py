"""Claims about other people's files: no command writes over what it read, or over what it has not made itself."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import main_lena
from data.dictionary import load_dictionary
from data.formats import read_picture, save_pixels
from data.images import load_image, load_pixels, to_pixels
from models import DLADMM
from models.activations import ACTIVATIONS
from tests.helpers import copy_code, refusal, rows
from utils.evaluation import solvers
from utils.restore import __main__ as restore
from utils.running.checkpoints import load_network, save_network
from utils.running.errors import UserError, script
from utils.running.settings import parse_settings


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "network.safetensors"
    save_network(DLADMM(load_dictionary()[:, :60], 2, 0.6, beta=8.0), path, {})
    return path


@pytest.fixture
def photograph(tmp_path):
    path = tmp_path / "x_noisy.png"
    save_pixels(to_pixels(load_image("camera")[100:140, 200:260], np.uint8), path)
    return path


def run_restore(checkpoint, *arguments):
    restore.main(["--checkpoint", str(checkpoint), *map(str, arguments)])


def test_the_corrupted_image_of_a_test_replaces_what_the_command_made_and_nothing_else(
    checkpoint, photograph, tmp_path, capsys
):
    before, words = photograph.read_bytes(), ("--image", photograph, "--corruption", "salt_and_pepper", "--output")
    assert "does not say that this command made it" in refusal(
        capsys, run_restore, checkpoint, *words, tmp_path / "x.png"
    )
    assert photograph.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == [photograph.name]
    output = tmp_path / "out.png"
    run_restore(checkpoint, *words, output)
    run_restore(checkpoint, *words, output, "--seed", 7)  # its own
    capsys.readouterr()
    (tmp_path / "out_noisy.png").write_text("somebody's")
    assert "does not say that this command made it" in refusal(capsys, run_restore, checkpoint, *words, output)
    assert (tmp_path / "out_noisy.png").read_text() == "somebody's"


def test_an_output_that_nobody_has_named_replaces_what_the_command_made_and_nothing_else(
    checkpoint, photograph, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for name in ("restored.png", "a.png"):
        shutil.copy(photograph, name)
    Image.open(photograph).save("a.jpg")
    (tmp_path / "in").mkdir()
    shutil.copy(photograph, "in/b.png")
    before = photograph.read_bytes()
    said = refusal(capsys, run_restore, checkpoint, "--image", "a.jpg")
    assert "'restored.png' is there" in said and "does not say that this command made it; allowed: to name it" in said
    with pytest.raises(SystemExit) as stopped:
        run_restore(checkpoint, "--image", "a.jpg", "in/b.png", "--output-dir", ".")
    assert stopped.value.code == 2 and "'a.png' is there" in capsys.readouterr().err and Path("b.png").exists()
    assert all(Path(name).read_bytes() == before for name in ("restored.png", "a.png"))
    run_restore(checkpoint, "--image", "a.jpg", "--output", "restored.png")
    assert Path("restored.png").read_bytes() != before


@pytest.mark.parametrize(
    ("ending", "bits"),
    [("png", 8), ("png", 16), ("tif", 8), ("tif", 16), ("jpg", 8), ("bmp", 8)],
)
def test_a_command_can_be_given_again_whatever_the_format(ending, bits, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(2**bits, size=(20, 30, 3), dtype=np.dtype(f"uint{bits}"))
    save_pixels(pixels, Path(f"my.{ending}"), alpha=pixels[..., 0] if ending == "png" else None)
    test = () if ending == "bmp" else ("--corruption", "salt_and_pepper", "--noise-rate", "0")
    for words in (test, ("--output-dir", "out", *test)):
        for _ in range(2):
            run_restore(checkpoint, "--image", f"my.{ending}", *words)
    written = read_picture(Path("restored.png"))
    assert written.pixels.dtype == pixels.dtype and (written.alpha is None) == (ending != "png")
    if test and ending != "jpg":
        np.testing.assert_array_equal(load_pixels("restored_noisy.png"), pixels)


@pytest.mark.parametrize("kind", ["the name", "a symbolic link", "a hard link", "another folder"])
@pytest.mark.parametrize("read", ["image", "mask", "checkpoint"])
def test_no_file_that_is_read_is_an_output(kind, read, checkpoint, photograph, tmp_path, capsys):
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[3, 4] = 255
    save_pixels(mask, tmp_path / "mask.png")
    shutil.copy(checkpoint, tmp_path / "network.png")  # a checkpoint may have any name
    files = {"image": photograph, "mask": tmp_path / "mask.png", "checkpoint": tmp_path / "network.png"}
    output = tmp_path / "link.png"
    if kind == "the name":
        output = files[read]
    elif kind == "a symbolic link":
        output.symlink_to(files[read])
    elif kind == "a hard link":
        os.link(files[read], output)
    else:
        (tmp_path / "folder").symlink_to(tmp_path, target_is_directory=True)
        output = tmp_path / "folder" / files[read].name
    before = {name: path.read_bytes() for name, path in files.items()}
    words = ("--image", photograph, "--positions", files["mask"], "--output", output)
    assert "a file that is read; allowed: another name" in refusal(capsys, run_restore, files["checkpoint"], *words)
    assert {name: path.read_bytes() for name, path in files.items()} == before


def experiment(image, results, checkpoints, *more):
    words = ["--image", image, "--depths", 1, "--training", "unsupervised", "--epochs", 1]
    words += ["--patches-per-epoch", 50, "--ladmm-max-iterations", 5]
    words += ["--safeguard-layers", 2, "--results-dir", results, "--checkpoint-dir", checkpoints, *more]
    main_lena.main([str(word) for word in words])


def test_the_experiment_replaces_no_picture_or_network_that_no_run_made(photograph, checkpoint, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    for name, folders in (("noisy.png", ("mine", "new")), ("dladmm_d01.safetensors", ("new", "mine"))):
        (tmp_path / "mine" / name).write_text("somebody's")
        said = refusal(capsys, experiment, photograph, *(tmp_path / folder for folder in folders))
        assert f"{name}' is there, and no run made it" in said
        assert (tmp_path / "mine" / name).read_text() == "somebody's" and not (tmp_path / "new").exists()


def test_the_experiment_reads_nothing_from_where_it_writes(photograph, tmp_path, capsys):
    np.savez(tmp_path / "dictionary.npz", A=np.eye(16))
    for words in (
        (photograph, tmp_path, tmp_path / "c"),
        (photograph, tmp_path / "r", tmp_path),
        ("lena", tmp_path, tmp_path / "c", "--dictionary", tmp_path / "dictionary.npz"),
        ("lena", tmp_path, tmp_path / "c", "--training", "supervised", "--training-images", tmp_path),
    ):
        assert "where a run replaces files; allowed: elsewhere" in refusal(capsys, experiment, *words)


def test_networks_of_an_earlier_run_do_not_stay_beside_the_tables_of_a_later_one(photograph, tmp_path, capsys):
    image = shutil.copy(photograph, tmp_path / "image.png")
    folders = (tmp_path / "r", tmp_path / "c")
    experiment(image, *folders, "--depths", 1, 2)
    experiment(image, *folders)
    assert {path.name for path in folders[1].iterdir()} == {"dladmm_d01.safetensors"}
    assert not (folders[0] / "dladmm_d02.png").exists()


def test_a_quick_try_does_not_cost_the_results_of_the_script_s_own_settings(photograph, tmp_path):
    """Run as a newcomer does, in a copy of the code whose own settings take a moment."""
    copied = tmp_path / "code"
    copy_code(copied)
    script = (copied / "main_lena.py").read_text()
    for before, after in (
        ('setting("lena"', f'setting("{photograph}"'),
        ("setting((5, 10, 15)", "setting((1, 2)"),
        ('setting(("unsupervised", "self_supervised")', 'setting(("unsupervised",)'),
        ("setting(30,", "setting(1,"),
        ("setting(10_000,", "setting(60,"),
        ("setting(1000,", "setting(5,"),
        ("setting(200,", "setting(3,"),
    ):
        assert before in script
        script = script.replace(before, after)
    (copied / "main_lena.py").write_text(script)

    def run(*arguments):
        command = [sys.executable, "main_lena.py", *arguments]
        return subprocess.run(command, cwd=copied, capture_output=True, text=True, check=True)

    run()
    own = {path: path.read_bytes() for folder in ("results", "checkpoints") for path in (copied / folder).iterdir()}
    assert copied / "results" / "results.csv" in own
    tried = run("--depths", "1", "--epochs", "2")
    assert "outputs go to results/depths_1_epochs_2/ and checkpoints/depths_1_epochs_2/" in tried.stderr
    assert "results/depths_1_epochs_2/" in tried.stdout
    assert [row["epoch"] for row in rows(copied / "results" / "depths_1_epochs_2" / "history.csv")] == ["1", "2"]
    assert all(path.read_bytes() == content for path, content in own.items())


def folders_of(*words):
    """Where the experiment writes with these options."""
    folders = ("results_dir", "checkpoint_dir")
    settings = parse_settings(main_lena.Settings, "", [str(word) for word in words], folders)
    return settings.results_dir, settings.checkpoint_dir


def test_options_that_change_nothing_or_folders_that_are_given_are_taken_at_their_word():
    assert folders_of() == folders_of("--depths", 5, 10, 15) == ("results", "checkpoints")
    assert folders_of("--epochs", 2, "--results-dir", "mine") == ("mine", "checkpoints/epochs_2")
    assert folders_of("--results-dir", "mine", "--checkpoint-dir", "networks") == ("mine", "networks")
    assert folders_of("--epochs", 2, "--results-dir", "results", "--checkpoint-dir", "checkpoints") == folders_of()


def test_different_options_write_to_different_folders():
    options = [("--image", name) for name in ("a/b.png", "a_b.png", "a" * 80, "a" * 81, "..")]
    options += [("--depths", 1, 2), ("--depths", 12), ("--noise-rate", 0.2), ("--noise-rate", 0.25), ("--seed", 7)]
    places = [folders_of(*words)[0] for words in options]
    assert len(set(places)) == len(places)
    for place in places:
        assert Path(place).parent == Path("results") and len(Path(place).name) < 80


@pytest.mark.parametrize("error", [ValueError("too many values"), OSError("no number"), FloatingPointError("x")])
def test_a_mistake_in_code_keeps_its_traceback(error, photograph, tmp_path, monkeypatch):
    def mistaken(*arguments):
        raise error

    monkeypatch.setattr(solvers, "run_ladmm", mistaken)
    with pytest.raises(type(error), match=str(error)):
        experiment(photograph, tmp_path / "r", tmp_path / "c")
    assert not (tmp_path / "r").exists()


def test_help_says_how_the_command_is_called(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["somewhere/utils/restore/__main__.py"])
    with pytest.raises(SystemExit):
        restore.main(["--help"])
    assert capsys.readouterr().out.startswith("usage: python -m utils.restore [options]")


def test_what_the_user_can_mend_is_one_line_and_exit_code_2(capsys):
    with pytest.raises(SystemExit) as stopped, script():
        raise UserError("depth is -1;\nallowed: 1 or more")
    assert stopped.value.code == 2 and capsys.readouterr().err == "error: depth is -1; allowed: 1 or more\n"


def test_a_mistake_in_an_activation_is_not_taken_for_a_broken_checkpoint(tmp_path, monkeypatch):
    class Mistaken(ACTIVATIONS["proximal"]):
        def __init__(self, function, step):
            super().__init__(function, step)
            if broken:
                self.theta = step.no_such_attribute

    broken = False
    monkeypatch.setitem(ACTIVATIONS, "mistaken", Mistaken)
    save_network(DLADMM(load_dictionary()[:, :9], 1, 0.6, activation="mistaken"), tmp_path / "network", {})
    broken = True
    with pytest.raises(AttributeError, match="no_such_attribute"):
        load_network(tmp_path / "network")


def test_transparency_is_kept_and_the_colours_restored(checkpoint, tmp_path, capsys):
    generator = np.random.default_rng(0)
    rgba = generator.integers(1, 256, size=(40, 50, 4), dtype=np.uint8)
    rgba[:10, :10, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "screenshot.png")
    run_restore(checkpoint, "--image", tmp_path / "screenshot.png", "--output", tmp_path / "restored.webp")
    with Image.open(tmp_path / "restored.webp") as restored:
        found = np.asarray(restored)
    np.testing.assert_array_equal(found[..., 3], rgba[..., 3])
    Image.fromarray(rgba[..., :3]).save(tmp_path / "opaque.png")
    run_restore(checkpoint, "--image", tmp_path / "opaque.png", "--output", tmp_path / "restored.png")
    far = np.s_[:, 26:]  # from what is transparent, which is not seen
    np.testing.assert_array_equal(found[far][..., :3], load_pixels(str(tmp_path / "restored.png"))[far])
    np.testing.assert_array_equal(found[:10, :10], rgba[:10, :10])
    capsys.readouterr()
    words = ("--image", tmp_path / "screenshot.png", "--output", tmp_path / "restored.jpg")
    assert "8 bits with transparency: a name in .png" in refusal(capsys, run_restore, checkpoint, *words)


@contextmanager
def stopped_before_work():
    """Work is a mistake in code: what is said until then was said before."""

    def begin(*arguments):
        raise RuntimeError("work begins")

    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="work begins"):
        patch.setattr(restore, "as_chosen", begin)
        yield


def test_what_will_not_be_kept_is_said_before_any_work(checkpoint, tmp_path, capsys):
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    Image.new("RGB", (40, 40)).save(tmp_path / "photograph.jpg", exif=exif)

    with stopped_before_work():
        run_restore(checkpoint, "--image", tmp_path / "photograph.jpg", "--output", tmp_path / "out.jpg")
    assert "EXIF data will not be in" in capsys.readouterr().err


def test_infrared_is_kept_in_a_tiff_and_named_before_any_work_for_a_png(checkpoint, tmp_path, capsys):
    scan = np.random.default_rng(0).integers(65536, size=(40, 50, 4), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "scan.tif", scan, photometric="rgb", extrasamples=["unspecified"])
    run_restore(checkpoint, "--image", tmp_path / "scan.tif", "--output", tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        np.testing.assert_array_equal(file.asarray()[..., 3], scan[..., 3])
        assert file.pages[0].extrasamples == (tifffile.EXTRASAMPLE.UNSPECIFIED,)
    assert "will not be in" not in capsys.readouterr().err

    with stopped_before_work():
        run_restore(checkpoint, "--image", tmp_path / "scan.tif", "--output", tmp_path / "out.png")
    assert "such as infrared (a .tif keeps them) will not be in" in capsys.readouterr().err
