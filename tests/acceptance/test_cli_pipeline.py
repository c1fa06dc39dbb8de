"""``motoko pipeline``: what is listed and drawn."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from motoko.config.pipelines import PipelineConfig
from motoko.pipeline import READY
from tests.acceptance.test_examples import EXAMPLES
from tests.support.command_line import CommandLine

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
