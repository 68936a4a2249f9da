"""The groups of `sluicectl`'s words, made here once; modules add words to them."""

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


app = group(
    "The operator's end of Sluicegate: keys, the collector, opening, verifying."
)
keys_app = group("Keys: recipients' files and cards, a fleet's signers.")
policy_app = group("Policies: written, checked, signed by people, published.")
devices_app = group("The registry of enrolled devices.")
enrol_app = group(
    "Devices are enrolled: their requests checked, certificates issued and renewed."
)
audit_app = group("Evidence, checked offline.")
rollout_app = group("Rollouts: a policy to 1 % of the fleet, to everybody, or back.")
journal_app = group("The operator's own log: who signed and published what.")
catalogue_app = group("Catalogues: what signals are, what is filed of them.")
app.add_typer(keys_app, name="keys")
app.add_typer(policy_app, name="policy")
app.add_typer(devices_app, name="devices")
app.add_typer(enrol_app, name="enrol")
app.add_typer(audit_app, name="audit")
app.add_typer(rollout_app, name="rollout")
app.add_typer(journal_app, name="journal")
app.add_typer(catalogue_app, name="catalogue")
