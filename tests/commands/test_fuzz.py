"""Command lines that nobody means to type: no traceback, no hang, an exit code of the design."""

import os
import random
import signal

import click
import numpy as np
import pytest
from support.shell import here, write_data

from zoo.commands import VERBS, main

SECONDS = 120  # a command that takes longer hangs

VALUES = [
    *("", " ", "-", "--", "-x", "--nosuch", "---", "a b", " a", "-1", "0", "1", "2", "999"),
    *("1.5", "1e9", "1e400", "nan", "inf", "0x10", "1_000", "+1", " 1 ", "٣", "１", "9" * 30),
    *("-" + "9" * 30, "True", "None", "null", "[]", "{}", "{'a': 1}", "()", "a=b", "=", "=b"),
    *("a=", "a==b", "a,b", ",", "latent_dim=", "latent_dim=-1", "latent_dim=1e400"),
    *("latent_dim=x", "latent_dim=٣", "latent_dim=2", "filters=[]", "nosuch=1", "spec=1"),
    *("condition=2", "learning_rate=nan", "ünï", "日本", "\U0001f600", "\u202etxt"),
    *("\ufeffvae", "new\nline", "tab\tx", "\r", "\x1b[31mred", "\x07", "\x9b31m", "\udcff"),
    *("a\udc80b", "\udcff.png", "./\udcff/x", "x" * 256, "x" * 5000, "./" + "x" * 300),
    *("./" + "x/" * 3000, "x" * 300 + ".png", "ü" * 200, "./" + "ü" * 200, "/", ".", ".."),
    *("./", "../", "//", "a//b", "./.", "*", "?", "./*", "[a]", "./[a]", "%s", "%n"),
    *("${HOME}", "$(x)", "`x`", ";", "|", "'", '"', "\\", "./\\", "~", "~/", "~nosuch"),
    *("~nosuch/x", "/proc", "/proc/self", "/proc/self/mem", "/sys", "/dev", "/dev/null"),
    *("/dev/zero", "/dev/full", "/dev/stdin", "/dev/tty", "/etc/passwd", "/root"),
    *("http://x/y", "file:///etc/passwd", "VAE", "vea", "vae ", "vae:", ":vae", "a:b"),
    *("a:b:c", "x.py", "x.py:", ":M", "x.py:M", "./x.py:M", "./code.py:Model", "./code.py:"),
    *("/dev/zero:M", "./pipe:M", "./pipe.py:M", "mnist2", "emnist/", "x.png", "X.PNG"),
    *("x.gif", ".png", "png", "new/x.png", "./file/x.png", "x.npz", "x.json", "x.txt"),
    *("./x.npz", "./empty", "./file", "./file.npz", "./torn.npz", "./pickle.npy"),
    *("./file.txt", "./pipe", "./pipe.npz", "./pipe.txt", "./loop", "./run"),
    *("./run/run.json", "./notes", "./model", "./locked", "./link", "bfloat16", "float32"),
    *("likelihood", "all", "test", "train", "dev"),
]  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with files of every kind, damaged ones too."""
    write_data(tmp_path, 40)
    (tmp_path / "torn.npz").write_bytes((tmp_path / "grey.npz").read_bytes()[:500])
    np.save(tmp_path / "pickle.npy", np.array([{}], object))
    for name in ("file", "file.npz", "file.txt", "code.py"):
        (tmp_path / name).write_bytes(b"\x00\xff not ( what it seems")
    for name in ("empty", "run", "notes", "model", "locked"):
        (tmp_path / name).mkdir()
    (tmp_path / "run" / "run.json").write_text('{"recipe": {"model": "vae"}}')
    (tmp_path / "run" / "metrics.jsonl").write_text("{\n[]\n")
    (tmp_path / "notes" / "a.txt").write_text("short")
    (tmp_path / "model" / "card.json").write_text('{"schema": 2, "files": {"../../x": 3}}')
    (tmp_path / "locked" / "run.json").mkdir()
    for name in ("pipe", "pipe.npz", "pipe.txt", "pipe.py"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    monkeypatch.setenv("HOME", str(tmp_path / "empty"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "empty"))
    return tmp_path


def command_line(rng):
    """Returns arguments of a random verb, most of them invalid.

    None starts a training, or imports all models.
    """
    verb = rng.choice(VERBS)
    command, arguments = main.get_command(None, verb), [verb]
    if isinstance(command, click.Group):
        command = command.commands[name := rng.choice([*command.commands])]
        arguments.append(name)
    options, positional = [], []
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            count = rng.choice((0, 1, 1, 1, 1, 1, 2))
            positional += [rng.choice(VALUES) for _ in range(count)]
        elif "--import" not in parameter.opts and rng.random() < 2 / len(command.params):
            name = rng.choice([*parameter.opts, *parameter.secondary_opts])
            choices = getattr(parameter.type, "choices", ())
            value = rng.choice([*choices, rng.choice(VALUES)])
            options.append([name] if parameter.is_flag else [name, value])
    if verb == "train" and rng.random() < 0.5:
        positional = ["vae"]
        options.append(["--data", rng.choice(VALUES)])
    if verb in ("info", "sample", "interpolate", "reconstruct") and rng.random() < 0.1:
        positional = ["vae"]  # a pretrained model that is fast
    parts = [*options, *([value] for value in positional)]
    rng.shuffle(parts)
    if rng.random() < 0.1:
        parts.insert(rng.randrange(len(parts) + 1), [rng.choice(VALUES)])
    return arguments + [word for part in parts for word in part]


def fuzz(place, number, seed):
    """Runs `number` command lines; returns those that ended in another way than they should."""
    rng, wrong = random.Random(seed), []
    here("train", "vae", "--data", "./empty", cwd=place)  # imports TensorFlow

    def too_long(number, frame):
        raise RuntimeError(f"took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    try:
        for _ in range(number):
            arguments = command_line(rng)
            signal.alarm(SECONDS)
            result = here(*arguments, cwd=place)
            signal.alarm(0)
            output = result.stdout + result.stderr
            if (
                result.returncode not in (0, 2, 3)
                or "Traceback" in output
                or any(character in output for character in "\x1b\x07\x9b\u202e\udcff")
                or (
                    result.returncode
                    and not result.stderr.splitlines()[-1:][0].startswith("Error: ")
                )
            ):
                wrong.append((arguments, result.returncode, output[-2000:]))
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return wrong


def test_no_command_line_ends_in_a_traceback(place):
    assert fuzz(place, 300, seed=0) == []


@pytest.mark.slow
def test_none_of_five_thousand_command_lines_ends_in_a_traceback(place):
    assert fuzz(place, 5000, seed=1) == []
