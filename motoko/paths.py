"""Names of files: those that users write, and what a workflow keeps of its own.

Those of locks are in `motoko.workflow.control`, of run directories in `motoko.job.layout`.
"""

from __future__ import annotations

WORKFLOW_FILE = "motoko.yaml"
STUDY_FILE = "bd.yaml"
#: In the directory of each study: its database, and the files that its runs are made with.
STUDY_STATE = ".bd"
STUDY_DATABASE = "motoko.db"
#: In the directory of the workflow: its own database, locks and logs.
WORKFLOW_STATE = ".wf"
WORKFLOW_DATABASE = "wf.db"
WORKFLOW_LOG = "wf.log"
SERVER_LOG = "server.log"
LAUNCHER_LOG = "launch.log"
