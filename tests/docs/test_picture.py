"""The picture in the README, and how it is taken."""

import sys
from xml.etree import ElementTree

from docs.generator import live_view
from docs.generator.live_view import best, frames, output_in_terminal

ONE_AT_WORK = "study  done\na  1 ━╌ 50%\nb  0 ╌╌ 0%"
BOTH_AT_WORK = "study  done\na  1 ━╌ 50%\nb  1 ━╌ 50%"
DONE = "study  done\na  2 ━━ 100%\nb  2 ━━ 100%"


def test_picture_shows_the_studies_and_states():
    tree = ElementTree.parse(live_view.PICTURE)
    text = "".join(tree.getroot().itertext()).replace("\xa0", " ")

    for word in ("motoko run", "convergence", "mesh", "solve", "estimate", "FINISHED", "done"):
        assert word in text
    assert "…" not in text


def test_frames_are_what_was_drawn_one_over_the_other():
    up = "\r\x1b[2K\x1b[1A\x1b[2K"

    found = frames(f"\x1b[?25lone\r\nline{up}\x1b[1mtwo\x1b[0m\r\n")

    assert found == ["one\nline", "\x1b[1mtwo\x1b[0m"]


def test_frame_with_most_studies_at_work_is_chosen():
    assert best([ONE_AT_WORK, BOTH_AT_WORK, DONE]) == BOTH_AT_WORK


def test_command_is_run_in_a_terminal_of_the_wanted_width(tmp_path):
    code = "import os, sys; print(sys.stdout.isatty(), os.get_terminal_size().columns)"

    output = output_in_terminal([sys.executable, "-c", code], tmp_path, {})

    assert output.strip() == f"True {live_view.N_COLUMNS}"
