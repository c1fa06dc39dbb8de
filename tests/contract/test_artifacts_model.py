"""Artifact stores against a model, with writers that are killed between any two effects."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from motoko import crashpoints
from motoko.artifacts import ArtifactStore, ToPut
from motoko.errors import ArtifactExists, ArtifactNotFound, PathTaken
from motoko.other_crashpoints import OTHER_POINTS
from tests.support.effort import examples

POINTS = [name for name in OTHER_POINTS if name.startswith("artifacts.")]
NAMES = st.sampled_from(["a", "b", "d/a", "d/b", "d"])
DEATHS = st.none() | st.tuples(st.sampled_from(POINTS), st.integers(1, 2))

_DONE, _EXISTS, _UNKNOWN, _TAKEN = 0, 11, 12, 13
_CODES = {ArtifactExists: _EXISTS, ArtifactNotFound: _UNKNOWN, PathTaken: _TAKEN}


def in_a_process(work: Callable[[], object], death: tuple[str, int] | None, file: Path) -> int:
    """Do something in a process of its own, which may be killed; how it ended."""
    pid = os.fork()
    if pid == 0:
        code = 1
        os.fsync = lambda fd: None  # no machine loses power here
        try:
            if death is not None:
                point, times = death
                crashpoints._chosen = {point: crashpoints._Chosen(times, str(file))}
            work()
            code = _DONE
        except tuple(_CODES) as error:
            code = _CODES[type(error)]
        finally:
            os._exit(code)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    file.unlink(missing_ok=True)
    return ended


class Stores(RuleBasedStateMachine):
    """One store, changed by processes of which some die."""

    def __init__(self) -> None:
        super().__init__()
        self.place = TemporaryDirectory()
        self.directory = Path(self.place.name)
        self.store = ArtifactStore(self.directory / "store")
        self.model: dict[str, bytes] = {}
        #: A change of which nobody knows whether it has happened, and the name.
        self.open: tuple[str, bytes | None] | None = None
        self.n_made = 0

    def teardown(self) -> None:
        self.place.cleanup()

    def change(
        self,
        work: Callable[[], object],
        name: str,
        content: bytes | None,
        death: tuple[str, int] | None,
        *,
        replaces: bool = False,
    ) -> None:
        code = in_a_process(work, death, self.directory / "died")
        if code == -signal.SIGKILL:
            if content is None and name not in self.model:
                return
            self.open = (name, content)
            self.settle(replaces=replaces)
            return
        assert code == self.expected(name, content, replaces=replaces), (code, name)
        if code == _DONE and content is None:
            del self.model[name]
        elif code == _DONE and content is not None:
            self.model[name] = content

    def expected(self, name: str, content: bytes | None, *, replaces: bool = False) -> int:
        if content is None:
            return _DONE if name in self.model else _UNKNOWN
        if name in self.model:
            return _DONE if replaces else _EXISTS
        above = any(name.startswith(f"{other}/") for other in self.model)
        below = any(other.startswith(f"{name}/") for other in self.model)
        return _TAKEN if above or below else _DONE

    def settle(self, *, replaces: bool) -> None:
        """What a process that died had wanted has happened as a whole, or not at all."""
        assert self.open is not None
        (name, content), self.open = self.open, None
        seen = self.store.list_artifacts()
        # The next writer, whoever it is and whatever it wants, completes or clears away.
        code = in_a_process(self.somebody_writes, None, self.directory / "died")
        assert code == _DONE
        assert self.store.list_artifacts() == seen  # whoever looked was told for good
        listed = {artifact.name for artifact in seen}
        changed = dict(self.model)
        if content is None:
            changed.pop(name, None)
        elif self.expected(name, content, replaces=replaces) == _DONE:
            changed[name] = content
        if replaces and name in listed:
            has_changed = self.content(name) == changed[name]
        else:
            has_changed = listed == set(changed)
        self.model = changed if has_changed else self.model
        assert listed == set(self.model)

    def somebody_writes(self) -> None:
        file = self.directory / "other"
        file.write_bytes(b"")
        self.store.put_file(file, "zz")
        self.store.remove("zz")

    @rule(name=NAMES, death=DEATHS)
    def put_file(self, name: str, death: tuple[str, int] | None) -> None:
        self.n_made += 1
        content = f"{self.n_made}".encode()
        file = self.directory / "file"
        file.write_bytes(content)
        self.change(lambda: self.store.put_file(file, name), name, content, death)

    @rule(name=NAMES, death=DEATHS)
    def put_dir(self, name: str, death: tuple[str, int] | None) -> None:
        self.n_made += 1
        content = f"{self.n_made}".encode()
        directory = self.directory / f"dir-{self.n_made}"
        directory.mkdir()
        (directory / "content").write_bytes(content)
        self.change(lambda: self.store.put_dir(directory, name), name, content, death)

    @rule(name=NAMES, death=DEATHS, is_dir=st.booleans())
    def replace(self, name: str, death: tuple[str, int] | None, is_dir: bool) -> None:
        self.n_made += 1
        content = f"{self.n_made}".encode()
        source = self.directory / f"new-{self.n_made}"
        if is_dir:
            source.mkdir()
        (source / "content" if is_dir else source).write_bytes(content)
        put = self.store.put_dir if is_dir else self.store.put_file
        work = partial(put, source, name, replaces=True)
        self.change(work, name, content, death, replaces=True)

    @rule(names=st.lists(NAMES, min_size=2, max_size=3), death=DEATHS)
    def put_all(self, names: list[str], death: tuple[str, int] | None) -> None:
        things, wanted = [], dict(self.model)
        for number, name in enumerate(names):
            self.n_made += 1
            file = self.directory / f"one-{self.n_made}"
            file.write_bytes(f"{self.n_made}".encode())
            things.append(ToPut(file, name, {}, None))
            others = (wanted.keys() - {name}) if name in self.model else wanted.keys()
            is_apart = not any(
                a.startswith(f"{b}/") for o in others for a, b in [(o, name), (name, o)]
            )
            if name not in names[:number] and is_apart:
                wanted[name] = file.read_bytes()
        code = in_a_process(lambda: self.store.put_all(things), death, self.directory / "died")
        self.store.list_artifacts()
        in_a_process(self.somebody_writes, None, self.directory / "died")
        listed = {a.name for a in self.store.list_artifacts()}
        found = {name: self.content(name) for name in listed}
        assert found in ([wanted] if code == _DONE else [wanted, self.model]), code
        self.model = found

    @rule(name=NAMES, death=DEATHS)
    def remove(self, name: str, death: tuple[str, int] | None) -> None:
        self.change(lambda: self.store.remove(name), name, None, death)

    @invariant()
    def the_store_is_what_the_model_says(self) -> None:
        assert {a.name for a in self.store.list_artifacts()} == set(self.model)
        assert self.store.verify() == []
        for name, content in self.model.items():
            assert self.content(name) == content

    def content(self, name: str) -> bytes:
        path = self.store.path(name)
        return (path / "content" if path.is_dir() else path).read_bytes()

    @invariant()
    def nothing_else_lies_there(self) -> None:
        """Once the next writer was there, no trace is left of those that died."""
        if not self.store.root.exists():
            return
        tops = {name.partition("/")[0] for name in self.model}
        kept = {"manifest.json", ".artifacts"} if self.store.manifest_file.exists() else set()
        found = {p.name for p in self.store.root.iterdir()} - {".artifacts"}
        assert found - kept - {".manifest.json.new"} == tops
        office = self.store.root / ".artifacts"
        assert {p.name for p in office.iterdir()} <= {"lock"}


TestStores = Stores.TestCase
TestStores.settings = settings(
    max_examples=examples(3, 40),
    stateful_step_count=12,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("change", ["put", "replace", "remove"])
def test_each_point_is_reached_and_survived(point: str, change: str, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "store")
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_text("a")
    if change != "put":
        store.put_dir(source, "x")
    (source / "a").write_text("b")

    def work() -> None:
        store.remove("x") if change == "remove" else store.put_dir(source, "x", replaces=True)

    code = in_a_process(work, (point, 1), tmp_path / "died")
    seen = [a.name for a in store.list_artifacts()]
    if not seen:
        store.put_dir(source, "x")
        store.remove("x")
    store.put_dir(source, "y")

    is_reached = {
        "put": point != "artifacts.emptied",
        "replace": point != "artifacts.emptied",
        "remove": point not in ("artifacts.copied", "artifacts.placed"),
    }
    assert (code == -signal.SIGKILL) == is_reached[change]
    has_x = change == "replace" or (change == "put" and point != "artifacts.copied")
    assert [a.name for a in store.list_artifacts()] == [*seen, "y"]
    assert seen == (["x"] if has_x else [])
    assert store.verify() == []
    if has_x:
        is_old = change == "replace" and point == "artifacts.copied"
        assert (store.path("x") / "a").read_text() == ("a" if is_old else "b")
    assert [p.name for p in (store.root / ".artifacts").iterdir()] == ["lock"]
