"""Values put into bash scripts stay text, wherever their marker stands."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from motoko.errors import MarkerUnsafe, MarkerUnset
from motoko.launch.markers import Template, marker_values
from tests.support.effort import examples

M = "__BLACKDYNAMITE__v__"


def fill(script: str, value: Any) -> bytes:
    return Template(script.encode(), "launch.sh", is_script=True).fill({"v": value})


def run(script: bytes) -> str:
    command = ["/bin/bash", "--norc", "-c", script]
    done = subprocess.run(command, capture_output=True, check=True, env={"PATH": "/none"})
    return done.stdout.decode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("script", "shown"),
    [
        (f'printf "%s|" "a{M}b"', "a{}b|"),
        (f"printf '%s|' 'a{M}b'", "a{}b|"),
        (f"printf '%s|' a{M}b", "a{}b|"),
        (f"x={M}\nprintf '%s|' \"$x\"", "{}|"),
        (f"printf '%s|' $'a\\t{M}'", "a\t{}|"),
        (f"printf '%s|' \"$(printf '%s' \"{M}\")x\"", "{}x|"),
        (f"printf '%s|' \"`printf '%s' '-'`{M}\"", "-{}|"),
        (f"# it's a comment\nprintf '%s|' \"{M}\" # {M} isn't\nprintf '%s|' '{M}'", "{0}|{0}|"),
        (f"printf '%s|' \\\"'{M}'", '"{}|'),
        (f"printf '%s|' $(( 1 << 2 )) \"{M}\"", "4|{}|"),
    ],
)
@settings(max_examples=examples(25))
@example("$(echo hit)")
@example("`echo hit`; echo hit\necho hit")
@example("'\"\\'\\\"$x!*?[a] ~ {1,2} # ")
@given(
    st.text(st.characters(blacklist_characters="\0", codec="utf-8"), min_size=1, max_size=20)
)
def test_any_value_stands_for_itself(script: str, shown: str, value: str) -> None:
    value = value.rstrip("\n") or "-"  # command substitution drops them
    filled = fill(script, value)

    assert run(filled) == shown.format(value)


@settings(max_examples=examples(25))
@given(st.text(st.characters(blacklist_characters="\0\r\n", codec="utf-8"), max_size=20))
def test_here_documents_keep_the_value(value: str) -> None:
    read = "while IFS= read -r line; do printf '%s|' \"$line\"; done"

    assert run(fill(f"{read} <<END\na{M}b\nEND\n", value)) == f"a{value}b|"
    assert run(fill(f"{read} <<'END'\na{M}b\nEND\n", value)) == f"a{value}b|"
    assert run(fill(f"{read} <<-END\n\ta{M}b\n\tEND\nprintf %s '{M}'", value)) == (
        f"a{value}b|{value}"
    )


@pytest.mark.parametrize(
    "script",
    [
        f"x=`printf %s {M}`",
        f"x=\"`printf '%s' '{M}'`\"",
        f"x=`: # it is\n: {M}`",
        f"x=`: # it is` y={M}",
        f'x="${{y:-{M}}}"',
        f"x=\"${{y:-'{M}'}}\"",
        f'x="${{y:-"{M}"}}"',
        f'x="${{y:-"$HOME/{M}"}}"',
        f'x=${{y#\'"\'}}; : "{M}"',
        f"x=\"${{y#'\"'}}\"; : '{M}'",
        f"x=$(({M}))",
        f"(( x = {M} ))",
        f"n=2; k=$((1<<n))\n: {M}",
        f"n=2; k=1; ((k<<=n)); ((k=k<<n))\n: {M}",
        f"x=$[1<<n]\n: {M}",
        f"n=2; (( k = (1<<n) )) # {M}\n: {M}",
        f'x="$(case a in a) printf %s {M} ;; esac)"',
        f"x=\"$(\ncase a in a) printf %s a ;; esac)\"; : {M} '{M}'",
        f"x=$((case a in a) :;; esac); :)\n: {M}",
        f"((: ; : ) ; : <<'{M}')\n: {M}\n{M}\n",
        f"x=\\{M}",
        f'x="\\{M}"',
        f"x=$'\\{M}'",
        f": ${M}",
        f': "${M}"',
        f": <<{M}\na\n{M}\n",
        f": <<!\n{M}\n!\n: {M}",
        f": <<E'O'F\n{M}'\nEOF\n: {M}",
        f": <<EOF\n$(printf %s {M})\nEOF\n",
        f": <<EOF\n`printf %s {M}`\nEOF\n",
        f": <<EOF\n${{x:-{M}}}\nEOF\n",
        f": <<EOF\n$(printf %s '{M})\nEOF\n: '{M}'",
        f": <<EOF\na\\{M}\n${M}\nEOF\n",
        f": <<EOF \\\n {M}\nEOF\n: {M}",
        f": <<EOF\na \\\nEOF\n{M}\nEOF\n: {M}",
        f": <<'EOF'\na \\\nEOF\n: {M}",
        f": <<EOF 'a\n{M}\nEOF\n' {M}\nEOF\n",
        f"x=$(: <<EOF\n)\n{M}\nEOF\n: {M} )\n: {M}",
        f"$$'a(:{M}\"$([[ a =~ (b) ]])'",
        f"(:)#'\n: {M} #'",
        f"x=$(true)#{M}",
        f"x=$((1+1))#{M}",
        f"x=`true`#{M}",
        f": <(:)#{M}",
        f"a=(1 2)#{M}",
        f": a \\\n# it's off\n: {M}",
        f"x=${{y//$'\\''/_}}\n: {M}",
        f'x="`: \\"it\'s\\"`"\n: {M}',
        f"[[ {M} -gt 3 ]]",
        f'[[ "{M}" -gt 3 ]]',
        f"let 'x={M}'",
        f"a[{M}]=3",
        f"a[1+{M}]=3",
        f"unset 'a[{M}]'",
        f'declare "a[{M}]=3"',
        f"x=3; a[x]={M}",
        f": <<'EOF'\r\n{M}\r\nEOF\r\n: {M}\r\n",
        f": <<EOF\r\n{M}\r\nEOF\r\n: {M}\r\n",
    ],
)
@pytest.mark.parametrize("end", ["", "'", '"', "`", "\n", "\nEOF\n", "))", ")", "}", "'\n"])
def test_no_value_is_ever_executed(tmp_path: Path, script: str, end: str) -> None:
    hit = ": > HIT"
    values = [
        f"{end};{hit};",
        f"{end}$({hit})",
        f"{end}`{hit}`",
        f"\\{end};{hit};#",
        f"({hit})",
    ]
    for value in values:
        try:
            filled = fill(script, value)
        except MarkerUnsafe:
            continue
        subprocess.run(["/bin/bash", "--norc", "-c", filled], cwd=tmp_path, capture_output=True)

        assert not (tmp_path / "HIT").exists(), filled.decode()


@pytest.mark.parametrize(
    "script",
    [
        f"n=2; k=$(( (1<<n) + ${{n}} )); ((k<<=n)); for ((i=0; i<2; i++)); do :; done; : {M}",
        f"x=\"${{y:-\"$(printf %s '}}')\"}}\"; printf '%s|' {M}",
        f'f() {{ printf \'%s|\' "${{1#*[}}" "${{#1}}"; }}; f a; : {M}',
        f"x=`printf a`\ny=\"`printf %s b`\"\n: '{M}'",
        f"cat <<EOF\n${{HOME}} $(date) $((1<<2)) `date`\ntitle = {M}, {M}\nEOF\n",
        f"cat <<EOF | sed s/a/b/ > c; : {M}\na \\\n b\nEOF\n: {M}",
        f"case $1 in a) : {M} ;; (b) : ;; esac; (cd /; ls) | wc; : {M}",
        f"srun \\\n  -n 2 \\\n  ./a {M} # {M}\n",
    ],
)
def test_where_it_is_certain_any_value_may_stand(script: str) -> None:
    fill(script, "two; words")


@pytest.mark.parametrize("mark", ["<<END", "<<'END'", "<<-END"])
def test_no_value_ends_a_here_document(mark: str) -> None:
    for line, value in ((M, "END"), (f"EN{M}", "D"), (f"{M}D", "EN"), (f"{M}{M}", "E")):
        with pytest.raises(MarkerUnsafe, match=r"launch\.sh:2: .*end the here-document"):
            fill(f": {mark}\n{line}\nEND\n", value)

    assert b"the END\n" in fill(f": {mark}\nthe {M}\nEND\n", "END")


def test_a_value_that_cannot_stand_there_is_refused_with_what_to_write() -> None:
    with pytest.raises(MarkerUnsafe) as caught:
        fill(f"n=1\nx=`printf %s {M}`\n", "a b")

    assert str(caught.value) == (
        "launch.sh:2: the value of 'v', 'a b', cannot stand where __BLACKDYNAMITE__v__ stands"
        " as nothing but text (in backticks); give it to a variable in a line near the top,"
        ' v=__BLACKDYNAMITE__v__, and write "$v" here'
    )
    assert fill(f"x=`printf %s {M}`", 1.5e-3) == b"x=`printf %s 0.0015`"


def test_a_here_document_cannot_be_ended_by_a_value() -> None:
    filled = fill(f": <<END\n{M}\nEND\n", "x\nEND\nprintf hit")

    assert run(filled) == ""


def test_harmless_words_stay_several_words() -> None:
    assert run(fill(f"printf '%s|' {M} end", "-n 4 --file=a.txt")) == "-n|4|--file=a.txt|end|"


def test_words_are_one_word_where_several_would_be_a_command() -> None:
    assert run(fill(f'x={M} && printf %s "$x"', "a printf")) == "a printf"


def test_numbers_and_lists_are_written_as_python_does() -> None:
    assert fill(f"a {M}", 1.5) == b"a 1.5"
    assert fill(f"a {M}", [1, 2]) == b"a '[1, 2]'"
    assert Template(f"[{M}]".encode(), "in.txt", is_script=False).fill({"v": [1]}) == b"[[1]]"


def test_other_files_get_values_as_they_are() -> None:
    filled = Template(f"x = '{M}'\n".encode(), "in.cfg", is_script=False).fill({"v": "it's"})

    assert filled == b"x = 'it's'\n"


def test_the_first_marker_without_a_value_is_named_with_its_line() -> None:
    template = Template(
        b"a\n__BLACKDYNAMITE__x__\n__BLACKDYNAMITE__yy__", "f.txt", is_script=False
    )

    with pytest.raises(MarkerUnset) as caught:
        template.fill({"x": 1, "y": 2, "yy": None})

    assert (caught.value.file, caught.value.line, caught.value.marker) == ("f.txt", 3, "yy")
    assert "did you mean 'y'" in str(caught.value)


def test_the_id_is_the_jobs_and_a_parameter_comes_before_an_entry() -> None:
    run_row = {"id": 7, "job_id": 3, "x": "run's", "y": 1, "study": "entry", "nonce": "f00"}

    values = marker_values({"x": "job's"}, run_row, {"study": "s"})

    assert (values["id"], values["run_id"], values["x"], values["y"]) == (3, 7, "job's", 1)
    assert values["study"] == "s"
    assert "nonce" not in values  # nor is it named to who has written something like it
