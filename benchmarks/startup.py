"""Measures the process times of commands without computation: python benchmarks/startup.py

Each time is the best of five. The limits are 200 ms for `--help` and `list`, also with 100 plugins,
and 300 ms for the others. `import click` is a lower bound for any program with click.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = Path(__file__).parent.parent / "cli.py"
READ_CARD = "from zoo.exports import cards, pretrained; cards.read_card(pretrained.find('vae'))"
PLUGINS = (0, 10, 100, 300)
CASES = {
    "python -c pass": ["-c", "pass"],
    "import click": ["-c", "import click"],
    "zoo --help": [str(PROGRAM), "--help"],
    "zoo info vae": [str(PROGRAM), "info", "vae"],
    "zoo info pixelcnn": [str(PROGRAM), "info", "pixelcnn"],
    "zoo compare pixelcnn pixelrnn": [str(PROGRAM), "compare", "pixelcnn", "pixelrnn"],
    "zoo runs": [str(PROGRAM), "runs"],
    "zoo train VAE (a typing error)": [str(PROGRAM), "train", "VAE"],
    "zoo sample vea (a typing error)": [str(PROGRAM), "sample", "vea"],
    "zoo.exports.cards.read_card": ["-c", READ_CARD],
}
MODULE = (
    '"""Model {i}, as long as models are.\n\n{text}\n\nFamily: flow\n"""\n\nZOO_API = 2\n{code}'
)


def best_of_five(arguments, environment):
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments],
            check=False,  # typing errors give exit code 2
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def install_plugins(folder, count):
    text, code = "A line of the story.\n" * 20, "x = [i for i in range(10)]\n" * 150
    for i in range(count):
        info = Path(folder, f"zoo_plugin{i}-1.0.dist-info")
        info.mkdir()
        (info / "entry_points.txt").write_text(f"[zoo.models]\nm{i} = zoo_plugin{i}.model:Model\n")
        package = Path(folder, f"zoo_plugin{i}")
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "model.py").write_text(MODULE.format(i=i, text=text, code=code))


def main():
    times = {name: best_of_five(case, os.environ) for name, case in CASES.items()}
    for count in PLUGINS:
        with tempfile.TemporaryDirectory() as folder:
            install_plugins(folder, count)
            environment = {**os.environ, "PYTHONPATH": folder}
            name = f"zoo list, {count} plugins"
            times[name] = best_of_five([str(PROGRAM), "list"], environment)
    floor = times["import click"]
    for name, milliseconds in times.items():
        print(f"{name:31} {milliseconds:6.1f} ms  {milliseconds / floor:5.2f} x import click")


if __name__ == "__main__":
    main()
