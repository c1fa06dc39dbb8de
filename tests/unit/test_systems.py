"""Systems: what each name promises."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motoko.errors import ConfigError
from motoko.systems import SimSystem, SystemMeta, find_systems, read_systems

SYSTEM = SimSystem(
    "lig1",
    Path("work/lig1"),
    topology=Path("complex.prmtop"),
    meta=SystemMeta(ligand="LIG", extras={"temperature": 300, "steps": [1, {"a": 2}]}),
)


def mistakes_of(file: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_systems(file) if file.is_file() else find_systems(file)
    return [f"{m.line} {m.key}: {m.found}; {m.allowed}" for m in caught.value.mistakes]


def test_path_joins_root_with_any_number_of_parts() -> None:
    assert SYSTEM.path() == Path("work/lig1")
    assert SYSTEM.path("equil", Path("a/b.nc")) == Path("work/lig1/equil/a/b.nc")


def test_with_artifacts_changes_files_and_leaves_the_original() -> None:
    changed = SYSTEM.with_artifacts(coordinates="last.rst7", trajectory="md.nc")
    again = changed.with_artifacts(restart="r", ligands=["l.sdf"])

    assert changed.coordinates == Path("last.rst7")
    assert changed.topology == SYSTEM.topology
    assert again.artifacts == {"trajectory": Path("md.nc"), "restart": Path("r")}
    assert again.ligands == (Path("l.sdf"),)
    assert changed.meta is SYSTEM.meta
    assert (SYSTEM.coordinates, SYSTEM.artifacts) == (None, {})


@pytest.mark.parametrize("name", ["name", "root", "meta"])
def test_with_artifacts_changes_nothing_but_files(name: str) -> None:
    with pytest.raises(TypeError, match=f"'{name}' is no file"):
        SYSTEM.with_artifacts(**{name: "x"})


def test_with_meta_merges_and_leaves_the_original() -> None:
    changed = SYSTEM.with_meta(run_label="r1", temperature=310, pressure=1.0)

    assert (changed.meta.ligand, changed.meta.run_label) == ("LIG", "r1")
    assert changed.meta.extras["temperature"] == 310
    assert changed.meta.get("pressure") == 1.0
    assert changed.meta.extras["steps"] == SYSTEM.meta.extras["steps"]
    assert changed.topology == SYSTEM.topology
    assert (SYSTEM.meta.run_label, SYSTEM.meta.extras["temperature"]) == (None, 300)
    assert "pressure" not in SYSTEM.meta.extras


def test_with_meta_takes_extras_under_their_own_name_too() -> None:
    changed = SYSTEM.with_meta(extras={"a": 1}, b=2)

    assert {"a": 1, "b": 2, "temperature": 300}.items() <= dict(changed.meta.extras).items()


def test_unknown_keys_of_meta_are_kept_as_extras() -> None:
    meta = SystemMeta.from_mapping({"ligand": "LIG", "unknown": [1, 2]})

    assert meta == SystemMeta(ligand="LIG", extras={"unknown": [1, 2]})
    assert meta.get("unknown") == (1, 2)
    assert meta.get("ligand") == "LIG"
    assert meta.get("absent", 7) == 7


def test_systems_are_frozen_to_the_last_value() -> None:
    given: dict[str, Any] = {"list": [1]}
    meta = SystemMeta(extras=given)
    given["list"].append(2)

    assert meta.extras["list"] == (1,)
    for thing, name in ((SYSTEM, "root"), (SYSTEM.meta, "ligand")):
        with pytest.raises(FrozenInstanceError):
            setattr(thing, name, "x")
    with pytest.raises(TypeError):
        SYSTEM.meta.extras["x"] = 1  # type: ignore[index]
    with pytest.raises(TypeError):
        SYSTEM.meta.extras["steps"][1]["a"] = 1


def test_equal_systems_have_equal_hashes_and_survive_pickling() -> None:
    same = SYSTEM.with_meta(temperature=1).with_meta(temperature=300)

    assert same == SYSTEM
    assert len({same, SYSTEM}) == 1
    assert pickle.loads(pickle.dumps(SYSTEM)) == SYSTEM


VALUES = st.dictionaries(
    st.sampled_from(["ligand", "residue_name", "run_label", "source", "a", "b", "c"]),
    st.text(max_size=3) | st.integers(),
)


@pytest.mark.slow
@given(VALUES, VALUES)
def test_merging_twice_is_merging_the_union(first: dict[str, Any], second: dict[str, Any]):
    assert SYSTEM.with_meta(**first).with_meta(**second) == SYSTEM.with_meta(**first | second)


def test_find_systems_finds_directories_with_what_their_files_say(tmp_path: Path) -> None:
    for name in ("b", "a", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "b" / "system.yaml").write_text(
        "topology: c.prmtop\nligands: l.sdf\nartifacts: {box: box.txt}\n"
        "meta: {ligand: LIG, temperature: 300}\n"
    )

    a, b = find_systems(tmp_path)

    assert a == SimSystem("a", tmp_path / "a")
    assert (b.name, b.topology, b.ligands) == ("b", Path("c.prmtop"), (Path("l.sdf"),))
    assert b.artifacts == {"box": Path("box.txt")}
    assert b.meta == SystemMeta(ligand="LIG", extras={"temperature": 300})
    assert find_systems(tmp_path, "a*") == (a,)
    with pytest.raises(NotADirectoryError):
        find_systems(tmp_path / "file")


def test_link_to_a_system_is_no_other_system(tmp_path: Path) -> None:
    work, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    for directory in (work / "m", elsewhere):
        directory.mkdir(parents=True)
    (work / "best").symlink_to("m")
    (work / "worst").symlink_to("m")
    (work / "c").symlink_to(elsewhere)
    (work / "d").symlink_to(elsewhere)

    assert [system.name for system in find_systems(work)] == ["c", "m"]


def test_read_systems_reads_a_list_in_its_order(tmp_path: Path) -> None:
    file = tmp_path / "systems.yaml"
    file.write_text(
        "systems:\n  lig2: {root: other/place, coordinates: c.rst7, meta: {ligand: B}}\n"
        "  lig1:\n"
    )

    two, one = read_systems(file)

    assert one == SimSystem("lig1", tmp_path / "lig1")
    assert two.root == tmp_path / "other" / "place"
    assert (two.coordinates, two.meta.ligand) == (Path("c.rst7"), "B")


def test_mistakes_name_file_line_key_and_what_was_meant(tmp_path: Path) -> None:
    file = tmp_path / "systems.yaml"
    file.write_text(
        "systems:\n  a:\n    topolgy: x\n    ligands: [1]\n"
        "  b: text\n  c: {meta: 1}\nsystem: 1\n"
    )
    directory = tmp_path / "found"
    (directory / "a").mkdir(parents=True)
    (directory / "a" / "system.yaml").write_text("root: x\nartifacts: x\n")

    keys = "root, topology, coordinates, protein, ligands, artifacts, meta"
    assert mistakes_of(file) == [
        "7 system: unknown key; expected systems; did you mean 'systems'?",
        f"3 systems.a.topolgy: unknown key; expected one of {keys}; did you mean 'topology'?",
        "4 systems.a.ligands: found a list [1]; expected a path, or a list of paths",
        "5 systems.b: found text 'text'; expected files and meta",
        "6 systems.c.meta: found 1; expected names and values",
    ]
    assert [text.partition(";")[0] for text in mistakes_of(directory)] == [
        "1 root: unknown key",
        "2 artifacts: found text 'x'",
    ]
    file.write_text("systems: [a]\n")
    assert mistakes_of(file)[0].startswith("1 systems: found a list ['a']; expected names")
