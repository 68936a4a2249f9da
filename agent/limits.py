"""The agent's own limits in one place; how they relate is asserted below.

What a file or a message may hold is its format's: limits of policies and catalogues
stand in ``policies``, of databases, captures and envelopes in ``protocols``. Units come
last in the name but for MAX. Each number says why it is that number.
"""

from typing import Final

BATCH_FRAMES_MAX: Final = 4096  # DESIGN section 4: 64-4096 frames
BATCH_WINDOW_S: Final = 0.1  # ... or 50-100 ms, whichever comes first
BATCHES_WAITING_MAX: Final = 64  # full ones before the flow: 8 s at 32,000 frames/s
COMMIT_WINDOW_S: Final = 0.25  # promise 7: at most this much is uncommitted

# Of each bus's socket: the kernel doubles it, and a frame takes some 900 bytes of it.
CAN_BUFFER_BYTES: Final = 4 * 1024 * 1024

CONFIG_BYTES_MAX: Final = 256 * 1024

ENVELOPE_BYTES_MAX: Final = 1024 * 1024
MQTT_BYTES_MAX: Final = 1536 * 1024
SPOOL_BYTES_DEFAULT: Final = 512 * 1024 * 1024
SPOOL_BYTES_MIN: Final = 4 * 1024 * 1024
RETAINED_BYTES_DEFAULT: Final = 256 * 1024 * 1024
RETAINED_BYTES_MIN: Final = 4 * 1024 * 1024
RESERVE_BYTES: Final = 16 * 1024 * 1024  # of the disk, so that evidence has room
ASIDE_KEPT: Final = 2  # of the damaged databases that were saved in full
WAL_BYTES_MAX: Final = 16 * 1024 * 1024  # SQLite's log is cut to it
ROOM_STEP_BYTES: Final = 256 * 1024  # caps change by so much when the disk is short
SPOOL_BYTES_HELD_MIN: Final = 1024 * 1024  # room for what is never shed
SEND_WINDOW: Final = 64  # unacknowledged MQTT messages
EVIDENCE_ENTRIES_A_MESSAGE: Final = 512
EVIDENCE_DAYS_MIN: Final = 190  # DESIGN section 9; the law says six months
EVIDENCE_DAYS_MAX: Final = 3650
# Never pruned, however old: what policies were confirmed is read from them if all else
# is lost (adapters/policy/floors.py). Days of an ordinary log, some 7 MiB.
EVIDENCE_ENTRIES_KEPT_MIN: Final = 16_384
PRUNED_AT_ONCE: Final = 256  # entries in one transaction: nobody waits for long
PRUNINGS_A_TURN: Final = 16  # of the clockwork, 5 s: 819 entries/s
EVIDENCE_BYTES_A_MESSAGE: Final = 512 * 1024  # a reader takes pages of 1 MiB

HELD_SAMPLES_MAX: Final = 1_000_000  # samples waiting inside transforms, all rules
EVENTS_A_MINUTE_MAX: Final = 60
EVENT_KEYS_MAX: Final = 4096

assert BATCH_FRAMES_MAX <= 65_536
assert ENVELOPE_BYTES_MAX < MQTT_BYTES_MAX
assert ENVELOPE_BYTES_MAX * 4 <= SPOOL_BYTES_MIN
assert SPOOL_BYTES_HELD_MIN < SPOOL_BYTES_MIN
assert BATCH_WINDOW_S <= COMMIT_WINDOW_S
