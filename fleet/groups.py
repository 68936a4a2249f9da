"""Command groups that several modules add words to; each is made here once."""

from __future__ import annotations

import typer


def group(text: str) -> typer.Typer:
    """Return an empty group of commands with one line of help."""
    return typer.Typer(
        help=text,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


keys_app = group("Keys: recipients' files and cards, a fleet's signers.")
policy_app = group("Policies: written, checked, signed by people, published.")
