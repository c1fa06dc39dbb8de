"""What runs beside the user's program, under the program's own Python: standard library only.

The scripts write files in the run directory and nothing else; the launcher reads them with the
modules here (`journal`, `token`, `outcome`, `quantities`) and starts bash as `shell` says.
"""

from motoko.job.record import get_run, running
from motoko.job.windows import Window as window

__all__ = ["get_run", "running", "window"]
