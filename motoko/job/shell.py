"""How bash runs a user's script: between a prologue and an EXIT trap, in one process.

The text is constant and uses builtins only, since forks are what a run costs; values arrive as
arguments and are gone before the script begins. Names of its own start with ``_motoko_``.
"""

from __future__ import annotations

import os
import re
from collections import namedtuple

from motoko.crashpoints import in_shell
from motoko.job.layout import PREFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional

    from motoko.job.layout import StrPath

SHELL = "/bin/bash"


class Forewarning(namedtuple("Forewarning", ["number", "after_s", "is_for_script"])):
    """A signal by its number, and how long after the start it comes; for the script's own bash,
    or for what that has started."""

    __slots__ = ()
    number: int
    after_s: float
    is_for_script: bool


# $0 is the script, as in `bash ./launch.sh`: it equals "${BASH_SOURCE[0]}", and $@ is empty.
# The lock's descriptor moves to 10 or above, out of the way of a script's `exec 3>file`.
# HOSTNAME may be that of the host which submitted the job, handed on in the environment.
# EPOCHREALTIME writes the decimal separator of the locale and is missing before bash 5.
# A script may have set IFS to anything, and for good: at the end nothing is split by it.
# On a full disk no file can be made, but the token's has a block with room for another line;
# so it has where the directory was renamed or may not be written in, and bash says which it is.
# Killed by a signal, bash runs the EXIT trap with the status of the last command, often 0, and
# that would pass for success. The command at that time tells: at a regular end it is `exit` or
# the sourcing itself. Otherwise nothing is written, and whoever waits for the process knows.
TEXT = r"""
@POINT script.entered@
cd -- "$1" || exit 126
unset OLDPWD
_motoko_dir=$1 _motoko_nonce=$2 _motoko_attempt=$3 _motoko_bell=${5-}
_motoko_now() {
  _motoko_time=${EPOCHREALTIME-}
  if [[ $_motoko_time == [0-9]*[!0-9][0-9]* ]]; then
    _motoko_time=${_motoko_time/[!0-9]/.}
  else
    builtin printf -v _motoko_time '%(%s)T' -1
  fi
}
_motoko_now
_motoko_begin=$_motoko_time
builtin read -r _motoko_up _motoko_idle 2>/dev/null </proc/uptime || _motoko_up=
_motoko_tell() {
  builtin printf '%s\n' "$_motoko_left" >|"$_motoko_dir/@PREFIX@outcome-$_motoko_attempt"
}
_motoko_end() {
  _motoko_exit=$? _motoko_command=$BASH_COMMAND
  @POINT script.ended@
  if [[ $_motoko_exit == 0 ]]; then
    case $_motoko_command in
      '. "$0"' | exit | 'exit '* | 'builtin exit'* | 'command exit'*) ;;
      *) return 0 ;;
    esac
  fi
  _motoko_now
  _motoko_why= _motoko_took=null
  if [[ $_motoko_up ]] && builtin mapfile -t _motoko_at 2>/dev/null </proc/uptime; then
    _motoko_at=${_motoko_at%% *}
    _motoko_took=$(( 10#${_motoko_at/./} - 10#${_motoko_up/./} ))e-2
  fi
  builtin printf -v _motoko_left \
    '{"nonce":"%s","exit":%s,"begin":%s,"end":%s,"took":%s,"host":"%s","pid":%s}' \
    "$_motoko_nonce" "$_motoko_exit" "$_motoko_begin" "$_motoko_time" "$_motoko_took" \
    "$_motoko_host" "$$"
  _motoko_tell 2>/dev/null || {
    _motoko_why=$( { LC_ALL=C; _motoko_tell; } 2>&1) && _motoko_why=
    case $_motoko_why in
      '') ;;
      *': No space left on device'* | *': Disk quota exceeded'*) _motoko_why=full ;;
      *': Read-only file system'*) _motoko_why=read-only ;;
      *) _motoko_why=ended ;;
    esac
  }
  if [[ ! $_motoko_why ]]; then
    @POINT script.told@
    [[ $_motoko_bell ]] && : 2>/dev/null >|"$_motoko_bell-ended"
  elif [[ ${_motoko_token-} ]]; then
    builtin printf '%s %s\n' "$_motoko_why" "$_motoko_left" 2>/dev/null >&"$_motoko_token" || :
  fi
  return 0
}
builtin read -r _motoko_host 2>/dev/null </proc/sys/kernel/hostname || _motoko_host=$HOSTNAME
_motoko_host=${_motoko_host//[!A-Za-z0-9._-]/_}
if [[ $4 ]]; then
  exec {_motoko_token}>&"$4"-
  _motoko_start=
  if builtin read -r _motoko_start 2>/dev/null <"/proc/$$/stat"; then
    set -f
    set -- ${_motoko_start##*) }
    set +f
    _motoko_start=${20}
  fi
  builtin printf 'started %s %s %s\n' "$$" "$_motoko_begin" "$_motoko_start" >&"$_motoko_token"
fi
@POINT script.started@
@WARNING@trap _motoko_end EXIT
[[ $_motoko_bell ]] && : 2>/dev/null >|"$_motoko_bell-begun"
set --
. "$0"
exit
""".replace("@PREFIX@", PREFIX)


def _with_points(text: str) -> str:
    return re.sub(r"@POINT ([a-z.]+)@", lambda found: in_shell(found.group(1)), text)


TEXT = _with_points(TEXT)

# Finds a process and all below it by what /proc tells, since no builtin does.
BELOW = r"""
_motoko_below() {
  local line pid at
  local -a parents=()
  _motoko_pids=()
  for line in /proc/[0-9]*/stat; do
    { IFS= builtin read -r line <"$line"; } 2>/dev/null || continue
    pid=${line%% *} line=${line##*) }
    line=${line#? }
    parents[pid]=${line%% *}
  done
  for pid in "${!parents[@]}"; do
    at=$pid
    while (( at > 1 && at != $1 )); do at=${parents[at]-0}; done
    (( at == $1 )) && _motoko_pids+=("$pid")
  done
}
"""

# Before the walltime is over, by a process that is no child of the script, or a `wait` in that
# would wait for it. It reads from a pipe which the script and all it starts have open, so that
# it ends with them. Told are processes that have asked for the signal, by a handler or, as srun
# does, by blocking it: any other one would die of it. The script's bash handles all signals for
# its EXIT trap, so it is told only where the signal is for it alone.
WARNING = r"""@BELOW@
_motoko_warn() {
  local line pid blocked caught key
  IFS= builtin read -r -t @SECONDS@ -u "$1" line
  (( $? > 128 )) || return 0
  : >|"$_motoko_dir/@PREFIX@warned-$_motoko_attempt"
  if [[ "@SCRIPT@" ]]; then
    builtin kill -@NUMBER@ $$
    return
  fi
  _motoko_below $$
  for pid in "${_motoko_pids[@]}"; do
    (( pid != $$ )) || [[ ! /proc/$$/exe -ef /proc/self/exe ]] || continue
    blocked=0 caught=0
    while IFS=$': \t' builtin read -r key line; do
      case $key in SigBlk) blocked=$line ;; SigCgt) caught=$line ;; esac
    done <"/proc/$pid/status"
    (( ((16#$blocked | 16#$caught) >> (@NUMBER@ - 1)) & 1 )) && builtin kill -@NUMBER@ "$pid"
  done
}
exec {_motoko_alarm}> >(
  [[ ${_motoko_token-} ]] && exec {_motoko_token}>&-
  exec {_motoko_in}<&0 </dev/null >/dev/null 2>&1
  _motoko_warn "$_motoko_in" &
)
"""


def text(warning: Optional[Forewarning] = None) -> str:
    """How bash runs a script, which is to be told that its walltime is nearly over."""
    found = ""
    if warning is not None:
        found = WARNING.replace("@BELOW@", BELOW.strip()).replace("@PREFIX@", PREFIX)
        found = found.replace("@SECONDS@", str(warning.after_s))
        found = found.replace("@NUMBER@", str(int(warning.number)))
        found = found.replace("@SCRIPT@", "yes" if warning.is_for_script else "")
    return TEXT.replace("@WARNING@", found.lstrip())


# A batch job takes the token itself, on the host that it executes on. What `ln` says of a
# network file system is not always true, so the two names are compared.
# A job whose attempt is not that of the directory any more comes too late: nothing of it is to
# be executed. EX_TEMPFAIL tells that from a script's own failure.
TAKING = r"""
_motoko_facts() {
  builtin read -r _motoko_host 2>/dev/null </proc/sys/kernel/hostname || _motoko_host=$HOSTNAME
  _motoko_boot= _motoko_up=0
  builtin read -r _motoko_boot 2>/dev/null </proc/sys/kernel/random/boot_id
  builtin read -r _motoko_up _motoko_idle 2>/dev/null </proc/uptime
  builtin printf -v _motoko_time '%(%s)T' -1
  builtin printf '{"nonce":"%s","generation":"%s","host":"%s","boot":"%s",%s' \
    "$_motoko_nonce" "$_motoko_generation" "${_motoko_host//[!A-Za-z0-9._-]/_}" \
    "$_motoko_boot" "\"launcher\":$$,\"created\":$_motoko_time.0,\"clock\":${_motoko_up:-0.0}"
}
_motoko_refuse() {
  { _motoko_facts; builtin printf ',"pid":%s,"refused":%s.0}\n' "$$" "$_motoko_time"; } \
    2>/dev/null >"@PREFIX@refused-$_motoko_attempt-$$$RANDOM"
  exit 75
}
@POINT job.entered@
[[ $(<@PREFIX@run.json) == *"\"nonce\": \"$_motoko_nonce\""* ]] || _motoko_refuse
_motoko_aside=@PREFIX@token-$_motoko_attempt.$$-$RANDOM$RANDOM
exec {_motoko_fd}>>"$_motoko_aside" || exit 75
flock -n "$_motoko_fd" 2>/dev/null
{ _motoko_facts; builtin printf '}\n'; } >&"$_motoko_fd"
@POINT job.aside@
ln -- "$_motoko_aside" "@PREFIX@token-$_motoko_attempt" 2>/dev/null
[[ $_motoko_aside -ef @PREFIX@token-$_motoko_attempt ]]
_motoko_status=$?
rm -f -- "$_motoko_aside"
[[ $_motoko_status == 0 ]] || _motoko_refuse
@POINT job.taken@
""".replace("@PREFIX@", PREFIX)
TAKING = _with_points(TAKING)
#: How a job ends that was not to be executed.
REFUSED = 75


def script(
    run_dir: StrPath,
    exec_file: str,
    nonce: str,
    attempt: int,
    token_fd: Optional[int] = None,
    warning: Optional[Forewarning] = None,
) -> List[str]:
    """The command that executes a run: bash in its directory, a new session's first process.

    ``exec_file`` is relative to the run directory, or absolute; it need not be executable. The
    descriptor of the token keeps its number up to the start and must be inheritable.
    """
    if not re.match(r"[A-Za-z0-9._-]+\Z", nonce):
        raise ValueError(f"a nonce is letters, digits, '.', '_' and '-', not {nonce!r}")
    path = exec_file if os.path.isabs(exec_file) else os.path.join(".", exec_file)
    token = "" if token_fd is None else str(token_fd)
    where = os.path.abspath(run_dir)
    return [SHELL, "-c", text(warning), path, where, nonce, str(attempt), token]
