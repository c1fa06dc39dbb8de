"""How runs become processes or batch jobs, and how what became of them is recorded."""

from motoko.launch.generator import find_generator
from motoko.launch.launcher import LauncherSettings, launch

__all__ = ["LauncherSettings", "find_generator", "launch"]
