"""README and docs are executed: see `tests.support.docs_pages` for the rules."""
