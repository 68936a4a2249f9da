"""Answers to devices that ask what time it is and which timestamp is the newest. Pure.

A device asks with the ``nonce`` of its signed ack; each nonce is answered once, and a
stranger's never.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from protocols.acks import open_ack
from protocols.errors import WireError
from protocols.freshness import Answer, encode_answer, is_nonce

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleet.trust.signing import SigningKey

ANSWERED_MAX: Final = 200_000  # nonces remembered, the newest of each device


class Answerer:
    """Who answers for one fleet, with the key of its timestamp role."""

    def __init__(self, fleet: str, keys: Mapping[str, bytes], key: SigningKey) -> None:
        """Take the registry (device -> public key) and the timestamp key."""
        self._fleet = fleet
        self._keys = keys
        self.use(key)
        self._answered: OrderedDict[str, str] = OrderedDict()
        self.answered = 0
        self.refused = 0

    def use(self, key: SigningKey) -> None:
        """Answer with this key from now on."""
        self._key = key
        self._key_id = key.half().key_id

    def answer(
        self, device: str, message: bytes, stamp: tuple[int, bytes], time_ns: int
    ) -> bytes | None:
        """Return the answer to an ack; None where it asks nothing new or is not valid.

        ``stamp``: version and file of the newest timestamp.
        """
        key = self._keys.get(device)
        try:
            nonce = "" if key is None else open_ack(message, key, device).nonce
        except WireError:
            nonce = ""
            self.refused += 1
        if not is_nonce(nonce) or self._answered.get(device) == nonce:
            return None
        version, raw = stamp
        told = Answer(
            self._fleet, device, nonce, time_ns, version, sha256(raw).digest()
        )
        body = encode_answer(told, self._key_id, self._key.sign)
        self._answered[device] = nonce
        self._answered.move_to_end(device)
        if len(self._answered) > ANSWERED_MAX:
            self._answered.popitem(last=False)
        self.answered += 1
        return body
