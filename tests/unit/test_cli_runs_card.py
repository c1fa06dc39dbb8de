"""What the card of a run says of its attempts."""

from __future__ import annotations

from motoko.cli.runs import _in_words


def test_earlier_attempt_says_what_the_next_one_was_given_more_of() -> None:
    attempt = {
        "number": 1,
        "state": "FAILED",
        "class": "out of memory",
        "cause": "killed by SIGKILL",
        "given_more": {"mem": "8GB"},
        "warnings": ["odd"],
    }

    assert _in_words(attempt) == (
        "FAILED (out of memory), killed by SIGKILL, then with mem 8GB\nodd"
    )
