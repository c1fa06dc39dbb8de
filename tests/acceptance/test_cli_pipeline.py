"""``motoko pipeline``: what is listed and drawn."""

from __future__ import annotations

import signal
from pathlib import Path
from xml.etree import ElementTree

import pytest

from motoko.config.pipelines import PipelineConfig
from motoko.pipeline import READY
from tests.acceptance.test_examples import EXAMPLES
from tests.support.command_line import DEADLINE_S, CommandLine
from tests.support.waiting import wait_until

EXAMPLE = EXAMPLES / "molecular-dynamics"


def test_steps_of_a_workflow_are_listed_in_their_order(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)

    shown = line.run("pipeline", "show", "--dir", str(EXAMPLE)).stdout
    data = line.json("pipeline", "show", "--dir", str(EXAMPLE))

    names = [row.split()[0] for row in shown.splitlines()]
    assert names[:2] == ["step", "system_prep"]
    assert [step["name"] for step in data] == names[1:]
    assert data[3]["payload_type"] == "dict"


def test_ready_pipeline_is_drawn_into_a_picture(tmp_path: Path) -> None:
    file = tmp_path / "order.svg"
    line = CommandLine(tmp_path)

    line.run("pipeline", "picture", str(file), "--ready", "molecular-dynamics-short")
    line.run("pipeline", "show", "--ready", "x", code=2)
    line.run("pipeline", "picture", "order.png", "--ready", "molecular-dynamics", code=2)

    root = ElementTree.parse(file).getroot()
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == [step.name for step in READY["molecular-dynamics-short"]()]


@pytest.mark.parametrize("name", READY)
def test_ready_pipelines_have_the_same_names_in_motoko_yaml(name: str) -> None:
    assert PipelineConfig(ready=name).ready == name


HANDLER = """
from pathlib import Path
def prepare(system):
    calls = Path("calls")
    with calls.open("a") as file:
        file.write("begun\\n")
    if not Path("gate").exists():
        import threading
        threading.Event().wait()
    calls.write_text(calls.read_text() + "ended\\n")
"""


@pytest.mark.slow
def test_ctrl_c_leaves_a_plain_function_and_the_next_start_calls_it_again(
    tmp_path: Path,
) -> None:
    line = CommandLine(tmp_path)
    steps = "pipeline:\n  steps:\n    prepare: {handler: tools.prepare}\n"
    (tmp_path / "motoko.yaml").write_text(f"task_managers: {{}}\n{steps}")
    (tmp_path / "tools.py").write_text(HANDLER)
    calls = tmp_path / "calls"

    with line.started("run", "--run_name", "one") as process:
        wait_until(lambda: calls.exists() and calls.read_text(), "a call")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE_S)
    (tmp_path / "gate").touch()
    again = line.run("run", "--run_name", "one")

    assert process.returncode == 130
    assert calls.read_text() == "begun\nbegun\nended\n"
    assert "finished after" in again.stdout
