"""Groups of which one command need not be named."""

from __future__ import annotations

import click


class DefaultGroup(click.Group):
    """``motoko launcher DIR`` is ``motoko launcher start DIR``.

    A directory that bears the name of a command is written ``./start``.
    """

    default = "start"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = [self.default, *args]
        return super().parse_args(ctx, args)
