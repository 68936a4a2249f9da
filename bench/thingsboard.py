"""thingsboard-gateway's CAN converter: set up in a venv of its own and measured there.

Its packages would change ours, so they stay apart. The converter class is the one of
the package; only its configuration is ours: every signal of the RAV4's bindings, as the
gateway's own connector would hand it over after reading its file.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from protocols.can.decode import decode

if TYPE_CHECKING:
    from policies.compile import Compiled
    from protocols.can.database import Message, Signal
    from protocols.frames import FrameBatch

NAME = "thingsboard-gateway"
ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / "build" / "bench-peers" / "thingsboard"
# What the converter's module imports, and nothing else of the gateway's dependencies.
PACKAGES = (
    "thingsboard-gateway==3.8.5", "simplejson", "cachetools", "cryptography", "cffi",
    "pycparser", "PyYAML", "packaging", "python-dateutil", "jsonpath-rw", "six", "ply",
    "orjson", "psutil",
)  # fmt: skip
INSTALL_S = 180
RUN_S = 120
RUNS = 5
EXACT = 1e-9  # relative: sums of the same values in another order


class Measured(NamedTuple):
    """What the converter took, over all frames that it was given."""

    seconds: float  # per frame
    version: str


def measure(plan: Compiled, frames: FrameBatch) -> Measured | str:
    """Return what the converter takes per frame, or why that is not known."""
    reason = _install()
    if reason:
        return reason
    given = {
        "nodes": _nodes(plan),
        "frames": [
            # The bindings name one bus; what another one says matches no node.
            [-1 if bus else ident, bytes(payload[:size]).hex()]
            for bus, ident, size, payload in zip(
                frames.bus.tolist(),
                frames.ident.tolist(),
                frames.size.tolist(),
                frames.payload,
                strict=True,
            )
        ],
        "runs": RUNS,
    }
    script = Path(__file__).with_name("thingsboard_peer.py")
    try:
        done = subprocess.run(
            [str(VENV / "bin" / "python"), str(script)],
            input=json.dumps(given).encode(), capture_output=True, timeout=RUN_S,
            check=True, cwd=VENV,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        return f"not measured: {_last(error.stderr)}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"not measured: {type(error).__name__}"
    said = json.loads(done.stdout)
    ours = float(decode(plan.plan, frames).samples.value.sum())
    if abs(said["sum"] - ours) > EXACT * abs(ours):
        return "not measured: it gives other values than ours"
    return Measured(said["seconds"] / len(frames), said["version"])


def _install() -> str:
    """Make the peer's venv where it is missing; return why it cannot be had."""
    stamp = VENV / ".installed"
    wanted = "\n".join(PACKAGES)
    if stamp.is_file() and stamp.read_text() == wanted:
        return ""
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    pip += ["--disable-pip-version-check", "--no-deps", *PACKAGES]
    try:
        for command in ([sys.executable, "-m", "venv", "--clear", str(VENV)], pip):
            subprocess.run(command, capture_output=True, timeout=INSTALL_S, check=True)
    except subprocess.CalledProcessError as error:
        return f"not installed: {_last(error.stderr)}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"not installed: {type(error).__name__}"
    stamp.write_text(wanted)
    return ""


def _last(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines() or ["no reason given"]
    return lines[-1][:120]


def _nodes(compiled: Compiled) -> dict[int, dict[str, object]]:
    """Return per identifier what the connector hands to ``convert`` with each frame."""
    nodes: dict[int, dict[str, object]] = {}
    messages = {
        key: message
        for databases in compiled.databases.values()
        for message in databases[0].messages
        for key in (message.name, message.ident)
    }
    for binding in compiled.can:
        message = messages[binding.message]
        node = nodes.setdefault(
            message.ident,
            {"deviceName": "rav4", "deviceType": "car", "sendOnChange": False,
             "configs": []},
        )  # fmt: skip
        configs = node["configs"]
        assert isinstance(configs, list)
        configs += [_config(message, name, factor) for name, factor in binding.parts]
    return nodes


def _config(message: Message, name: str, factor: float) -> dict[str, object]:
    """Return one signal's configuration; an expression only where one is needed."""
    signal = next(one for one in message.signals if one.name == name)
    first, last, shift = _place(signal)
    whole = shift == 0 and signal.length == 8 * (last - first + 1)
    value = "value"
    if not whole:
        value = f"(value >> {shift} & {(1 << signal.length) - 1})"
        if signal.signed:
            sign = 1 << signal.length - 1
            value = f"(({value} ^ {sign}) - {sign})"
    scale, offset = signal.scale * factor, signal.offset * factor
    value += f" * {scale}" if scale != 1 else ""
    value += f" + {offset}" if offset else ""
    return {
        "key": f"{message.name}.{name}",
        "is_ts": True,
        "type": "int",
        "start": first,
        "length": last - first + 1,
        "byteorder": "big" if signal.big_endian else "little",
        "signed": signal.signed and whole,
        "expression": "" if value == "value" else value,
        "strictEval": True,  # the gateway's default
    }


def _place(signal: Signal) -> tuple[int, int, int]:
    """Return first byte, last byte and right shift of a signal."""
    if not signal.big_endian:
        end = signal.start + signal.length - 1
        return signal.start // 8, end // 8, signal.start % 8
    begin = 8 * (signal.start // 8) + 7 - signal.start % 8
    end = begin + signal.length
    last = (end - 1) // 8
    return begin // 8, last, 8 * (last + 1) - end
