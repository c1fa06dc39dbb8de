"""One job of a batch as the run of a study: ``python -m motoko.batch.alone CALL``."""

from __future__ import annotations

import base64
import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import motoko
from motoko.batch.doing import do, mark, set_aside
from motoko.batch.kinds import RunStatus
from motoko.batch.models import BatchJob, BatchRunRecord
from motoko.durable import replace_file

#: In the run directory: the record of the job.
RECORD = "record.json"


def main(call_file: str) -> int:
    """Do the job of the run that this process is; 1 if it failed."""
    call: dict[str, Any] = json.loads(Path(call_file).read_bytes())
    run, _ = motoko.get_run()
    record_file = Path(run.run_path) / RECORD
    sys.path[:] = call["path"]
    worker = pickle.loads(base64.b64decode(call["worker"]))
    job = BatchJob.model_validate_json(run.spec)
    if os.environ.get("MOTOKO_ATTEMPT", "1") != "1":
        set_aside(job.output)  # an attempt before this one may have died at it
    before = mark(job.output)
    encoded = do(job, worker, Path.cwd())
    record = BatchRunRecord.model_validate_json(encoded)
    if record.status is RunStatus.FAILED and mark(job.output) != before:
        set_aside(job.output)
    replace_file(record_file, [encoded])
    if record.status is RunStatus.FAILED:
        sys.stderr.write(f"{record.error_type}: {record.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
