"""What passed between masters and devices, as columns: a request and its reply, or not.

Tap and proxy bring ``PairBatch``: bytes, where each PDU lies, and who said it.
``ExchangeBatch`` is the same decoded: every field of every public function, and what
does not fit. Addresses are 0-based.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from protocols.frames import I16, I64, U8, U16, U32, Bool


NO_SUB: Final = 0xFFFF  # functions without a sub-function
UNLISTED: Final = 255  # in ``link``: a device that the configuration does not name
NO_REPLY: Final = -1  # in ``reply_at``
NO_REQUEST: Final = -1  # in ``request_at``: an unsolicited reply


class Problem(IntFlag):
    """What does not fit. V1.1b3 clause 7 names the checks; the rest is pairing."""

    PROTOCOL = 1 << 0  # the MBAP protocol identifier is not 0
    LENGTH = 1 << 1  # the PDU's length does not fit its function
    QUANTITY = 1 << 2  # outside of what the function allows
    RANGE = 1 << 3  # address + quantity > 65536
    BYTE_COUNT = 1 << 4  # the request's byte count does not fit its quantity
    VALUE = 1 << 5  # function 5: neither 0000 nor FF00; file records: type, number
    FUNCTION = 1 << 6  # the reply's function is neither the request's nor its exception
    ECHO = 1 << 7  # a write's reply does not repeat the request
    REPLY_LENGTH = 1 << 8  # the reply's byte count does not fit the quantity
    UNSOLICITED = 1 << 9  # a reply to no request
    UNANSWERED = 1 << 10  # no reply came; not a fault for unit 0 on serial lines
    REPEATED = 1 << 11  # the transaction identifier was still in flight
    EXCEPTION = 1 << 12  # an exception code that no specification names
    CHECKSUM = 1 << 13  # RTU: the CRC does not match
    UNKNOWN = 1 << 14  # no public function code


class Verdict(IntEnum):
    """What the firewall says of a request."""

    UNJUDGED = 0
    ALLOWED = 1
    REFUSED = 2


class Reason(IntEnum):
    """Why a request was refused."""

    NONE = 0
    NO_RULE = 1  # no rule covers all of it
    DENIED = 2  # a rule says deny
    READ_ONLY = 3
    VALUE = 4  # covered, but a value lies outside
    DELTA = 5  # the change is too large
    UNKNOWN_BEFORE = 6  # a change is limited, and the value before is not known
    RATE = 7
    TIME = 8  # outside of the time window, or the clock is not believed
    MALFORMED = 9
    NO_POLICY = 10  # none decides, or it has no firewall
    FAULT = 11  # the judge itself failed


@dataclass(frozen=True, slots=True)
class PairBatch:
    """N requests with their replies: places in ``chars``, in order of time.

    ``*_at`` is the place of the PDU's first byte (its function code), ``*_size`` the
    PDU's length in bytes (at most 253, cut off or not). A row has a request, a reply,
    or both.
    """

    chars: U8  # all bytes, with 260 zeros behind
    time_ns: I64  # [N] of the request; of the reply where there is no request
    reply_ns: I64  # [N] 0 where no reply came
    client: U16  # [N] index into ``Peers``
    server: U16  # [N] index into ``Peers``
    link: U8  # [N] index into the link table, UNLISTED
    unit: U8  # [N]
    tid: U16  # [N] transaction identifier; 0 on serial lines
    request_at: I64  # [N] NO_REQUEST
    request_size: U16  # [N]
    reply_at: I64  # [N] NO_REPLY
    reply_size: U16  # [N]
    problems: U32  # [N] Problem bits found while framing and pairing
    verdict: U8  # [N] Verdict, where a proxy has judged
    rule: I16  # [N] which rule decided, -1 none
    reason: U8  # [N] Reason

    def __len__(self) -> int:
        """Return the number of exchanges."""
        return len(self.time_ns)


@dataclass(frozen=True, slots=True)
class ExchangeBatch:
    """N exchanges, decoded. ``read_*`` is what came back, ``write_*`` what was asked.

    ``address`` and ``count`` tell the read part of a reading function and of 23, else
    what is written. Row i owns ``read_values[read_offset[i]:read_offset[i + 1]]``
    (registers, or coils as 0/1) and likewise for ``write_values``; function 22 has its
    two masks (and, or) there. What is malformed has no values.
    """

    time_ns: I64  # [N]
    reply_ns: I64  # [N]
    client: U16  # [N]
    server: U16  # [N]
    link: U8  # [N]
    unit: U8  # [N]
    tid: U16  # [N]
    function: U8  # [N] of the request; of the reply where there is none, without bit 7
    sub: U16  # [N] sub-function of 8, MEI type of 43 (<< 8 | read code), NO_SUB
    table: U8  # [N] 0, 1, 3, 4 or NO_TABLE
    address: U16  # [N] 0 where the function has none
    count: U16  # [N]
    write_address: U16  # [N]
    write_count: U16  # [N] 0: writes nothing that has an address
    is_write: Bool  # [N] may change the device: by ``functions.is_write``
    malformed: Bool  # [N] the request itself does not fit, whatever its reply
    exception: U8  # [N] exception code of the reply, 0 none
    problems: U32  # [N]
    verdict: U8  # [N]
    rule: I16  # [N]
    reason: U8  # [N]
    alert: I16  # [N] the first ``alert`` rule that touches it, -1 none
    read_offset: I64  # [N + 1]
    read_values: U16
    write_offset: I64  # [N + 1]
    write_values: U16
    texts: tuple[
        tuple[int, int, bytes], ...
    ] = ()  # (row, object id, text) of 43/14, 17

    def __len__(self) -> int:
        """Return the number of exchanges."""
        return len(self.time_ns)
