"""Database and launcher on one host, the orchestrator on another one, over TLS."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from motoko.store import certificates
from tests.support.hosts import Cable, Host, two_hosts
from tests.support.launch_session import make_gate, open_gate
from tests.support.network import make_certificates, mixed
from tests.support.processes import kill_processes_of
from tests.support.waiting import wait_until
from tests.support.workflows import write_workflow

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces"),
]
PORT = 9187
LONG_S = 120
ORCHESTRATOR = """
async def main(workflow, **params):
    [(first, _)] = await workflow.solve.createTask(x=[1.0])
    await workflow.norm.createTask(x=[first.job.x + 1])
"""
#: What a script that reads other studies does, with what its environment tells it.
READER = """
import os
import BlackDynamite as BD
from motoko.workflow import Workflow

assert os.environ["MOTOKO_CERTIFICATES"].endswith(".certs")
run, job = BD.getRunFromScript()
with BD.Base(host=os.environ["BLACKDYNAMITE_HOST"]) as own:
    assert own.runs[run.id].state == "RUNNING", own.runs[run.id].state
with_all = Workflow(run.workflow)
run.norm = with_all.solve.connect().runs[1].job.x
with_all.close()
run.finish()
"""


class Network:
    """Two hosts, and a workflow that lies on the file system of both."""

    def __init__(self, tmp: Path, alpha: Host, beta: Host, cable: Cable) -> None:
        self.alpha, self.beta, self.cable = alpha, beta, cable
        self.gate = make_gate(tmp)
        more = f"host: zeo://{alpha.ip}:{PORT}\n"
        studies = {"solve": None, "norm": None}
        self.directory = write_workflow(tmp / "w", studies, ORCHESTRATOR, more)
        script = f"echo ran >> {tmp}/ran; read -r _ < {self.gate}\n"
        (self.directory / "solve" / "launch.sh").write_text(script)
        (self.directory / "norm" / "doIt.py").write_text(READER)
        (self.directory / "norm" / "launch.sh").write_text("python3 doIt.py\n")
        self.log = self.directory / ".wf" / "wf.log"

    def log_says(self, words: str) -> bool:
        """Whether the orchestrators' log has these words."""
        return self.log.exists() and words in self.log.read_text()


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    with two_hosts() as (alpha, beta, cable):
        found = Network(tmp_path, alpha, beta, cable)
        try:
            yield found
        finally:
            kill_processes_of(found.directory)


def test_a_workflow_goes_on_when_the_cable_between_its_hosts_was_cut(
    network: Network, tmp_path: Path
) -> None:
    alpha, beta, directory = network.alpha, network.beta, network.directory
    alpha.motoko(directory, "server", "certs")
    nobody = beta.motoko(directory, "orchestrator", "start", "--run_name", "r", code=7).stderr
    assert f"nobody listens there; `motoko server start` on {alpha.ip} does" in nobody
    alpha.motoko(directory, "create")
    alpha.motoko(directory, "launcher", "start")

    with beta.started(directory, "orchestrator", "start", "--run_name", "r") as orchestrator:
        wait_until(lambda: (tmp_path / "ran").exists(), deadline_s=LONG_S)
        assert beta.connections(PORT) == 3
        network.cable.cut()
        open_gate(network.gate)
        wait_until(lambda: (directory / "solve/BD-solve-runs/run-1/FINISHED").exists())
        # Longer than any limit of the client: it has given its connections up.
        wait_until(lambda: network.log_says("does not answer"), deadline_s=LONG_S)
        wait_until(lambda: beta.connections(PORT) == 0, deadline_s=LONG_S)
        assert orchestrator.poll() is None
        network.cable.mend()
        output, errors = orchestrator.communicate(timeout=LONG_S)

    assert orchestrator.returncode == 0, output + errors
    assert network.log_says("answers again")
    read = beta.motoko(directory, "runs", "show", "norm.1").stdout
    assert "FINISHED" in read.splitlines()[0] and "norm  1" in read
    assert (tmp_path / "ran").read_text() == "ran\n"
    alpha.motoko(directory, "kill")


def test_who_has_no_good_certificate_is_refused_with_the_reason(
    network: Network, tmp_path: Path
) -> None:
    alpha, beta, directory = network.alpha, network.beta, network.directory
    assert "ca.crt is missing" in beta.motoko(directory, "info", code=7).stdout
    refused = alpha.motoko(directory, "create", code=7).stderr
    assert ".certs/ca.crt is missing; `motoko server certs` makes certificates" in refused
    alpha.motoko(directory, "server", "certs")
    alpha.motoko(directory, "server", "start")
    good = directory / ".certs"
    aside = tmp_path / "good"
    shutil.copytree(good, aside)
    stranger = make_certificates(tmp_path / "stranger", alpha.ip)
    expired = mixed(tmp_path / "expired", ca=aside)
    certificates.make(expired, {alpha.ip}, days=-1)
    start = ("orchestrator", "start", "--run_name", "r")

    def refusal(source: Path | None) -> str:
        for name in ("client.crt", "client.key"):
            (good / name).unlink(missing_ok=True)
            if source is not None:
                shutil.copy(source / name, good / name)
        return beta.motoko(directory, *start, code=7).stderr

    ours = good / "client.crt"
    assert f"our certificate {ours} is not signed by the authority" in refusal(stranger)
    assert f"{ours} is missing; `motoko server certs`" in refusal(None)
    assert f"it refuses us: our certificate {ours} has expired" in refusal(expired)
    for name in ("client.crt", "client.key"):
        shutil.copy(aside / name, good / name)
    assert "solve" in beta.motoko(directory, "info").stdout
    alpha.motoko(directory, "kill")
