"""Kills the experiment at random moments; ended by the same command, it must leave what an undisturbed run leaves.

`python -m tests.campaigns.kills` (on Linux) kills KILLS times, with moments drawn from SEED: in training, at a step;
between epochs, while the state of a training is saved; while writing, as the files of the run are made and moved. A run
is killed up to CHAIN times before, an hour later, it may end. Prints the kills of each kind, and exits with 1 at the
first difference.
"""

import os
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
from torch.optim.optimizer import register_optimizer_step_post_hook

import main_lena
from tests.test_interruption import contents, let_an_hour_pass, photograph, words

SEED, KILLS, CHAIN = 1126, 200, 4
LONGEST_DELAY = 0.02  # seconds
KINDS = ("in training", "between epochs", "while writing")
CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}  # of a folder, as Python audits


def follow(folder: Path, said: Callable[[str], None]) -> None:
    """Says the kind of every event of the run in this process: of steps, and of changes in its folder."""

    def changed(event: str, arguments: tuple) -> None:
        if event in CHANGES and str(arguments[0]).startswith(str(folder)):
            said("between epochs" if "interrupted-" in str(arguments[0]) else "while writing")

    register_optimizer_step_post_hook(lambda *_: said("in training"))
    sys.addaudithook(changed)


def run(image: Path, folder: Path, said: Callable[[str], None]) -> int:
    """The experiment in a process that shares what is imported already; its exit code, or minus the signal."""
    child = os.fork()
    if child == 0:
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        follow(folder, said)
        main_lena.main(words(image, folder))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(kind: str, nth: int, seconds: float, image: Path, folder: Path) -> bool:
    """The experiment; whether it lasts until it is killed, some seconds after the nth event of a kind."""
    seen = Counter()

    def said(event: str) -> None:
        seen[event] += 1
        if event == kind and seen[kind] == nth:
            threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()

    code = run(image, folder, said)
    assert code in (0, -signal.SIGKILL), f"exit code {code}, {seconds} s after {kind}, {nth}"
    return code != 0


def undisturbed(image: Path, folder: Path) -> tuple[dict, Counter]:
    """What a run leaves that nothing happens to, and how often each kind of event came."""
    reading, writing = os.pipe()
    said = {kind: bytes([place]) for place, kind in enumerate(KINDS)}
    assert run(image, folder, lambda kind: os.write(writing, said[kind])) == 0
    os.close(writing)
    with open(reading, "rb") as pipe:
        return contents(folder), Counter(KINDS[place] for place in pipe.read())


def main() -> None:
    """Kills, and compares."""
    random, kills = np.random.default_rng(SEED), Counter()
    with tempfile.TemporaryDirectory() as made:
        image, number = photograph(Path(made)), count()
        expected, events = undisturbed(image, Path(made) / "undisturbed")
        while kills.total() < KILLS:
            folder = Path(made) / f"run {next(number)}"
            for _ in range(min(CHAIN, KILLS - kills.total())):
                kind = KINDS[random.integers(len(KINDS))]
                nth, seconds = random.integers(1, events[kind] + 1), random.uniform(0, LONGEST_DELAY)
                if not killed(kind, nth, seconds, image, folder):
                    break
                kills[kind] += 1
            let_an_hour_pass(folder)
            assert run(image, folder, lambda kind: None) == 0
            assert contents(folder) == expected, f"the files differ after {kills.total()} kills"
            print(f"{kills.total()} of {KILLS} kills: the files are the same", flush=True)
    print(dict(kills))


if __name__ == "__main__":
    main()
