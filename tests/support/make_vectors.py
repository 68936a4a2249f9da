"""Writes docs/formats/vectors/envelope-*.json anew (HPKE is random: once is enough).

Run from the project's root: python -m tests.support.make_vectors
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.protocols.test_vectors_envelope import OEM, SUITES, raw_keys, seal, theirs
from tests.reference import envelope_reader as reader
from tests.support.sealing import Device

FOLDER = Path("docs/formats/vectors")


def make(suite: str) -> dict[str, object]:
    """Return one suite's vector."""
    messages = [record.body for one in seal(suite) for record in one.records]
    device_key = Device().public_key()
    epoch = reader.open_epoch(messages[0], device_key, raw_keys(OEM))
    return {
        "format": "docs/formats/envelope.md, version 1",
        "suite": suite,
        "device_public_key": device_key.hex(),
        "recipient_keys": {k: v.hex() for k, v in vars(raw_keys(OEM)).items()},
        "batch_key": epoch.key.hex(),
        "announcement": messages[0].hex(),
        "batches": [message.hex() for message in messages[1:]],
        "samples": [
            {
                "item": item,
                "statistic": statistic,
                "time_ns": time_ns,
                "raw": raw,
                "value": value.hex() if isinstance(value, float) else None,
                "text": text.hex() if isinstance(text, bytes) else None,
            }
            for item, statistic, time_ns, raw, value, text in theirs(
                device_key, messages
            )
        ],
    }


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in SUITES:
        text = json.dumps(make(name), indent=1)
        (FOLDER / f"envelope-{name}.json").write_text(text + "\n", encoding="utf-8")
