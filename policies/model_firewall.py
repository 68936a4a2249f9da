"""The policy's ``modbus:`` section as strict records: unknown fields are refused.

What the records mean stands in ``docs/formats/policy.md``; ``firewall/compile.py``
gives it to a judge.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct, field

from policies.model_base import Name, Names, Text

FIREWALL_RULES_MAX: Final = 5000
CLIENTS_MAX: Final = 256
ADDRESSES_MAX: Final = 64  # of one client

# One number, ``[from, to]``, or a list of numbers and ``[from, to]``.
NumberSpans: TypeAlias = int | Annotated[list[int | list[int]], Meta(max_length=256)]
# The same; texts are addresses of the old notation, such as "40011".
AddressSpans: TypeAlias = (
    int | str | Annotated[list[int | str | list[int | str]], Meta(max_length=256)]
)
Functions: TypeAlias = int | str | Annotated[list[int | str], Meta(max_length=128)]


class FirewallRecord(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Base of the records here."""


class ClientFile(FirewallRecord, frozen=True, kw_only=True):
    """Masters under one name; where a role is given, their certificate must hold it."""

    addresses: str | Annotated[list[str], Meta(max_length=ADDRESSES_MAX)] = []
    role: Annotated[str, Meta(max_length=100)] = ""


class FirewallRuleFile(FirewallRecord, frozen=True, kw_only=True):
    """One rule; what is not given holds for all."""

    name: Name
    do: Literal["allow", "deny", "alert"] = "allow"
    from_: Names | None = field(default=None, name="from")  # clients or addresses
    to: Names | None = None  # links
    unit: NumberSpans | None = None
    fc: Functions | None = None  # codes, names, groups
    sub: NumberSpans | None = None
    table: Literal[0, 1, 3, 4] | None = None
    addr: AddressSpans | None = None
    item: str | None = None  # instead of unit, table, addr: through the bindings
    value: tuple[float, float] | None = None
    max_delta: Annotated[float, Meta(ge=0)] | None = None
    rate: Annotated[str, Meta(max_length=40)] | None = None  # 6/min
    when: Annotated[str, Meta(max_length=100)] | None = None
    note: Text = ""


class Firewall(FirewallRecord, frozen=True, kw_only=True):
    """Who may ask which device for what. Present but empty: nobody for nothing."""

    default: Literal["deny", "monitor"] = "deny"
    mode: Literal["enforce", "dry-run", "read-only"] = "enforce"
    on_failure: Literal["refuse", "pass-reads"] = "refuse"
    answer: Literal["exception", "drop"] = "exception"
    clients: Annotated[
        dict[Name, str | list[str] | ClientFile], Meta(max_length=CLIENTS_MAX)
    ] = {}
    rules: Annotated[list[FirewallRuleFile], Meta(max_length=FIREWALL_RULES_MAX)] = []
