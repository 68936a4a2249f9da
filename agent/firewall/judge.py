"""The judge: may this master ask this device for this?

Rules in order: the first `deny` that touches a request refuses it, the first `allow`
that covers all of it and whose limits hold lets it through. What decides without
looking at values, time or the past is decided once per kind of request and remembered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from agent.firewall.batch import judge_batch
from agent.firewall.decision import Decision
from agent.firewall.limits import broken_limit, holds_now
from agent.firewall.lookup import Lookup, is_limited
from agent.firewall.memory import UNKNOWN
from agent.firewall.past import Past
from agent.firewall.places import Applicable, parts_of, unaddressed
from policies.firewall.tables import Default, Do, Mode
from protocols.modbus.exchanges import Problem, Reason, Verdict
from protocols.modbus.functions import (
    DEVICE_BUSY,
    DEVICE_FAILURE,
    FUNCTION_MAX,
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    MASK_WRITE,
    NO_TABLE,
    READ_FIFO,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.firewall.decision import Caller
    from agent.firewall.memory import Memory
    from agent.firewall.places import Part
    from policies.firewall.tables import CompiledFirewall, FirewallRule
    from protocols.modbus.exchanges import ExchangeBatch
    from protocols.modbus.pdu import Request
    from protocols.modbus.pdu_reply import Reply

KINDS_MAX: Final = 16_384  # of requests, remembered; then all are looked up again
TOLERATED: Final = int(Problem.UNKNOWN)  # a vendor's function is for the rules
# What a bug here raises; what else comes is the caller's (agent/adapters/modbus).
FAULTS: Final = (
    ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip
NEVER: Final = frozenset({Reason.MALFORMED, Reason.FAULT})  # not in dry-run either
BROADCAST: Final = 0  # the unit that all devices of a line listen to
CODES: Final = {
    Reason.NO_RULE: ILLEGAL_FUNCTION,
    Reason.DENIED: ILLEGAL_FUNCTION,
    Reason.READ_ONLY: ILLEGAL_FUNCTION,
    Reason.VALUE: ILLEGAL_VALUE,
    Reason.DELTA: ILLEGAL_VALUE,
    Reason.UNKNOWN_BEFORE: ILLEGAL_VALUE,
    Reason.RATE: DEVICE_BUSY,
    Reason.TIME: DEVICE_BUSY,
    Reason.MALFORMED: ILLEGAL_VALUE,
    Reason.FAULT: DEVICE_FAILURE,
}


class _Kind(NamedTuple):
    """All requests of one master to one device with the same function and addresses."""

    parts: tuple[Applicable, ...]
    alerts: tuple[int, ...]
    fixed: Decision | None  # None: values, time or the past decide


class _Ruling(NamedTuple):
    """What the rules say of one part."""

    rule: int
    reason: Reason


class Judge:
    """One policy's firewall. Not for two threads at once."""

    def __init__(self, firewall: CompiledFirewall, memory: Memory) -> None:
        """Take the rules; ``memory`` goes from one judge to the next."""
        self.firewall = firewall
        self.memory = memory
        self._rules = firewall.rules
        self._lookup = Lookup(firewall)
        self._kinds: dict[tuple[object, ...], _Kind] = {}
        self.past = Past(firewall.rules)
        self._learns = self.past.counts
        memory.keep_only(frozenset(rule.name for rule in firewall.rules))
        memory.restart()
        memory.compares(self.past.places)

    def judge(
        self,
        caller: Caller,
        link: int,
        unit: int,
        request: Request,
        now_ns: int,
        *,
        clock_ok: bool,
    ) -> Decision:
        """Decide on one request; ``now_ns``: wall clock. Never raises."""
        try:
            return self._judge(caller, link, unit, request, now_ns, clock_ok=clock_ok)
        except FAULTS:
            passes = self.firewall.pass_reads_on_failure and not request.is_write
            return self._decision(
                Verdict.ALLOWED if passes else Verdict.REFUSED, -1, Reason.FAULT, ()
            )

    def answered(
        self, link: int, unit: int, request: Request, reply: Reply | None
    ) -> None:
        """Remember what was read, and what was written and confirmed.

        A write that is not confirmed may have been carried out, or in part: what is
        there is not known until it is read. ``reply`` None: none came.
        """
        if not self._learns or request.problems or request.table == NO_TABLE:
            return
        place = (link, unit, request.table)
        confirmed = reply is not None and not (reply.exception or reply.problems)
        if request.write_count:
            self.memory.write_ends(place, request.write_address, request.write_count)
        if not confirmed and request.write_count:
            unknown = (UNKNOWN,) * request.write_count
            self.memory.learn(place, request.write_address, unknown)
        elif request.function == MASK_WRITE:
            self._masked(place, request)
        elif request.write_count:
            self.memory.learn(place, request.write_address, request.write_values)
        # Function 23 writes before it reads (6.17); 24 reads a queue, not registers.
        if confirmed and reply is not None and request.function != READ_FIFO:
            self.memory.learn_read(place, request.address, reply.values)

    def _masked(self, place: tuple[int, int, int], request: Request) -> None:
        """Function 22: (what was there AND and) OR (or AND NOT and), clause 6.16."""
        had = self.memory.seen(place, request.write_address, 1)
        keep, put = request.write_values
        now = UNKNOWN if had is None else had[0] & keep | put & ~keep & 0xFFFF
        self.memory.learn(place, request.write_address, (now,))

    def known(
        self, caller: Caller, link: int, unit: int, request: Request
    ) -> tuple[Decision | None, tuple[int, ...]]:
        """Return what is decided whatever the values and the time, and the alerts.

        Where the judge fails here it fails in ``judge``, which says what becomes of it.
        """
        try:
            kind = self._of(caller, link, unit, request)
        except FAULTS:
            return None, ()
        return kind.fixed, kind.alerts

    def judge_batch(
        self, exchanges: ExchangeBatch, names: Sequence[str], *, clock_ok: bool
    ) -> ExchangeBatch:
        """Judge what a tap saw; ``batch.judge_batch`` says how."""
        return judge_batch(self, exchanges, names, clock_ok=clock_ok)

    # --- deciding ---------------------------------------------------------------------

    def _judge(
        self,
        caller: Caller,
        link: int,
        unit: int,
        request: Request,
        now_ns: int,
        *,
        clock_ok: bool,
    ) -> Decision:
        kind = self._of(caller, link, unit, request)
        decision = kind.fixed
        if decision is None:
            decision = self._by_limits(
                kind, (link, unit, request.table), request, now_ns, clock_ok=clock_ok
            )
        if request.write_count and self._learns and decision.forward:
            where = (request.table, request.write_address, request.write_count)
            self.memory.write_begins((link, unit, where[0]), *where[1:])
            if unit == BROADCAST:
                self.memory.broadcast(link, *where)
        return decision

    def _by_limits(
        self,
        kind: _Kind,
        place: tuple[int, int, int],
        request: Request,
        now_ns: int,
        *,
        clock_ok: bool,
    ) -> Decision:
        rulings = [
            self._ruled(found, part, place, now_ns, clock_ok=clock_ok)
            for part, found in zip(parts_of(request), kind.parts, strict=True)
        ]
        decision = self._all(rulings, kind.parts, kind.alerts)
        if not decision.reason:
            for number in dict.fromkeys(one.rule for one in rulings):
                rule = self._rules[number]
                if rule.rate is not None:
                    self.memory.passed(rule.name, rule.rate, now_ns)
        return decision

    def _all(
        self,
        rulings: list[_Ruling],
        parts: tuple[Applicable, ...],
        alerts: tuple[int, ...],
    ) -> Decision:
        """Return the decision on all parts: a denied one refuses, then any other."""
        told = [
            (one, found)
            for one, found in zip(rulings, parts, strict=True)
            if one.reason
        ]
        for one, found in told:
            if one.reason is Reason.DENIED:
                return self._refused(one, found, alerts)
        if told:
            return self._refused(*told[0], alerts)
        return self._decision(Verdict.ALLOWED, rulings[0].rule, Reason.NONE, alerts)

    def _ruled(
        self,
        found: Applicable,
        part: Part,
        place: tuple[int, int, int],
        now_ns: int,
        *,
        clock_ok: bool,
    ) -> _Ruling:
        """Go through the rules of one part, in order."""
        failed = _Ruling(-1, Reason.NO_RULE)
        for number in found.rules:
            rule = self._rules[number]
            if rule.do is Do.DENY:
                # Where the clock is not believed, a deny for some hours holds.
                if not clock_ok or holds_now(rule, now_ns, clock_ok=True):
                    return _Ruling(number, Reason.DENIED)
                continue
            wrong = broken_limit(
                rule, place, part, self.memory, now_ns, clock_ok=clock_ok
            )
            if not wrong:
                return _Ruling(number, Reason.NONE)
            if failed.reason is Reason.NO_RULE:
                failed = _Ruling(number, wrong)
        return failed

    def _refused(
        self, ruling: _Ruling, found: Applicable, alerts: tuple[int, ...]
    ) -> Decision:
        monitors = self.firewall.default is Default.MONITOR
        if monitors and ruling.reason is not Reason.DENIED:
            return self._decision(Verdict.ALLOWED, ruling.rule, ruling.reason, alerts)
        code = CODES[ruling.reason]
        if ruling.reason is Reason.NO_RULE and found.names_function:
            code = ILLEGAL_ADDRESS
        return self._decision(Verdict.REFUSED, ruling.rule, ruling.reason, alerts, code)

    def _decision(
        self,
        verdict: Verdict,
        rule: int,
        reason: Reason,
        alerts: tuple[int, ...],
        code: int = 0,
    ) -> Decision:
        if verdict is Verdict.ALLOWED:
            return Decision(verdict, rule, reason, True, 0, alerts)
        forward = self.firewall.mode is Mode.DRY_RUN and reason not in NEVER
        answer = 0 if self.firewall.silent else code or CODES[reason]
        return Decision(verdict, rule, reason, forward, answer, alerts)

    def _of(self, caller: Caller, link: int, unit: int, request: Request) -> _Kind:
        clients = self._lookup.clients(caller)
        key = (
            clients, link, unit, request.function, request.sub, request.address,
            request.count, request.write_address, request.write_count,
            request.problems,
        )  # fmt: skip
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kind(key, clients, link, unit, request)
        return kind

    # --- what is decided once ---------------------------------------------------------

    def _kind(
        self,
        key: tuple[object, ...],
        clients: frozenset[int],
        link: int,
        unit: int,
        request: Request,
    ) -> _Kind:
        if len(self._kinds) >= KINDS_MAX:
            self._kinds.clear()
        kind = self._kinds[key] = self._looked_up(clients, link, unit, request)
        return kind

    def _looked_up(
        self, clients: frozenset[int], link: int, unit: int, request: Request
    ) -> _Kind:
        wrong = request.problems & ~TOLERATED
        if wrong or not 0 < request.function <= FUNCTION_MAX:
            # Its addresses mean nothing; alerts about its function are told.
            odd = unaddressed(request)
            told = self._lookup.applicable(clients, link, unit, odd, request.sub)
            refused = self._decision(Verdict.REFUSED, -1, Reason.MALFORMED, told.alerts)
            return _Kind((), told.alerts, refused)
        parts = parts_of(request)
        found = tuple(
            self._lookup.applicable(clients, link, unit, part, request.sub)
            for part in parts
        )
        alerts = tuple(sorted({n for one in found for n in one.alerts}))
        if self.firewall.mode is Mode.READ_ONLY and request.is_write:
            refused = self._decision(Verdict.REFUSED, -1, Reason.READ_ONLY, alerts)
            return _Kind(found, alerts, refused)
        return _Kind(found, alerts, self._fixed(parts, found, alerts))

    def _fixed(
        self,
        parts: tuple[Part, ...],
        found: tuple[Applicable, ...],
        alerts: tuple[int, ...],
    ) -> Decision | None:
        """Return the decision where nothing but the kind of request matters."""
        rulings = []
        for part, one in zip(parts, found, strict=True):
            if not one.rules:
                rulings.append(_Ruling(-1, Reason.NO_RULE))
                continue
            first = one.rules[0]
            if self._depends(self._rules[first], part):
                return None
            denied = self._rules[first].do is Do.DENY
            reason = Reason.DENIED if denied else Reason.NONE
            rulings.append(_Ruling(first, reason))
        return self._all(rulings, found, alerts)

    def _depends(self, rule: FirewallRule, part: Part) -> bool:
        allows = rule.do is Do.ALLOW
        return rule.hours is not None or (allows and is_limited(rule, part))
