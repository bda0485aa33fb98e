"""A real kernel: progress, an interrupt, no log lines; and the notebooks in docs/notebooks."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from support.shell import NOISY, environment

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SECONDS = 300  # of a cell
MOST_BYTES = 300_000
STEPS = 200  # per epoch
CELL = f"""
import numpy as np
import zoo
data = zoo.Splits.from_arrays(np.random.default_rng(0).integers(0, 2, (500, 8, 8), np.uint8))
run = zoo.train({NOISY!r}, data, epochs=20, batch_size=2)
"""


class Kernel:
    """A kernel, and the content of the messages that it sends while it executes cells."""

    def __init__(self, folder):
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(cwd=str(folder), env=environment())

    def start(self, code):
        return self.client.execute(code)

    def outputs(self, request):
        """Yields (type, content) of each output of a cell until it ends."""
        while True:
            message = self.client.get_iopub_msg(timeout=SECONDS)
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if (kind, content.get("execution_state")) == ("status", "idle"):
                return
            if kind not in ("status", "execute_input"):
                yield kind, content

    def run(self, code):
        return [*self.outputs(self.start(code))]

    def stop(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(tmp_path):
    pytest.importorskip("ipykernel", reason="requires the extra `notebooks`")
    kernel = Kernel(tmp_path)
    yield kernel
    kernel.stop()


@pytest.mark.slow
def test_an_interrupted_kernel_leaves_a_run_that_resumes(kernel, tmp_path):
    request = kernel.start(CELL)
    outputs, steps = [], []
    for kind, content in kernel.outputs(request):
        outputs.append((kind, content))
        if kind in ("display_data", "update_display_data"):
            assert "training" in content["data"]["text/html"] or not steps
            steps += map(int, re.findall(r"(\d+)/\d+", content["data"]["text/plain"]))
        if kind == "update_display_data" and len(steps) == 4:
            kernel.manager.interrupt_kernel()
    assert len({*steps}) > 3
    assert any(step % STEPS for step in steps)  # within an epoch
    kinds = [kind for kind, _ in outputs]
    assert kinds.count("display_data") == 1
    assert "stream" not in kinds  # no log lines
    kind, error = outputs[-1]
    assert (kind, error["ename"]) == ("error", "TrainingInterrupted")
    step, call = re.fullmatch(
        r"Saved step ([\d,]+)\. Resume with: (zoo\.resume\('runs/.*', data\))", error["evalue"]
    ).groups()
    assert len(error["traceback"]) == 2  # the call and the message
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "checkpoints" / f"step-{int(step.replace(',', '')):08}").is_dir()

    outputs = kernel.run(f"run = {call}\nrun")
    assert {kind for kind, _ in outputs} == {
        "display_data",
        "update_display_data",
        "execute_result",
    }
    assert f"{STEPS * 20}/{STEPS * 20}" in outputs[-2][1]["data"]["text/plain"]
    shown = outputs[-1][1]["data"]["text/html"]
    assert "20/20" in shown
    assert "finished" in shown
    assert "data:image/png" in shown
    outputs = kernel.run("print([line['epoch'] for line in run.metrics] == [*range(1, 21)])")
    assert outputs == [("stream", {"name": "stdout", "text": "True\n"})]


def test_there_are_three_notebooks():
    assert {path.stem for path in NOTEBOOKS} == {"first_model", "own_images", "own_model"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_complete_and_of_no_machine(path):
    content = path.read_text("utf-8")
    assert len(content) < MOST_BYTES
    assert not re.search(r"/(tmp|root|home|usr|var)/", content)
    cells = [cell for cell in json.loads(content)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    kinds = kinds_of_outputs(cells)
    assert "error" not in kinds
    assert "image/png" in kinds
    for cell in cells:
        for output in cell["outputs"]:
            assert output["output_type"] != "stream" or "typed in" in "".join(output["text"])


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    pytest.importorskip("nbclient", reason="requires the extra `notebooks`")
    spec = importlib.util.spec_from_file_location("execute", path.with_name("execute.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    committed = kinds_of_outputs(json.loads(path.read_text("utf-8"))["cells"])
    assert kinds_of_outputs(module.execute(path, tmp_path).cells) == committed


def kinds_of_outputs(cells):
    """Lists the types of the outputs of cells: those of their data, or "stream" or "error"."""
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    return [kind for o in outputs for kind in sorted(o.get("data", [o["output_type"]]))]
