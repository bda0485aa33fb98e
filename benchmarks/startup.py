"""Whole-process times of the commands that must be instant: python benchmarks/startup.py

Each is the best of five; below 200 ms is the promise. `import click` is what any such program pays.
`--plugins N` makes N installed plugins first.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DOOR = Path(__file__).parent.parent / "cli.py"
CASES = {
    "python -c pass": ["-c", "pass"],
    "import click": ["-c", "import click"],
    "zoo --help": [str(DOOR), "--help"],
    "zoo list": [str(DOOR), "list"],
}
MODULE = (
    '"""Model {i}, as long as models are.\n\n{text}\n\nFamily: flow\n"""\n\nZOO_API = 1\n{code}'
)


def best_of_five(arguments, environment):
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment
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
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plugins", type=int, default=0, metavar="N")
    count = parser.parse_args().plugins
    with tempfile.TemporaryDirectory() as folder:
        install_plugins(folder, count)
        environment = {**os.environ, "PYTHONPATH": folder}
        times = {name: best_of_five(case, environment) for name, case in CASES.items()}
    floor = times["import click"]
    for name, milliseconds in times.items():
        print(f"{name:15} {milliseconds:6.1f} ms  {milliseconds / floor:5.2f} x import click")


if __name__ == "__main__":
    main()
