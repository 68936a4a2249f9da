"""Private keys in files: written once, mode 0600, and never shown in an error."""

from __future__ import annotations

import datetime as dt
import json
import stat
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fleet.errors import BadInput
from fleet.keys import generate, load, save
from tests.support.sealing import keys

if TYPE_CHECKING:
    from pathlib import Path

FIRST, LAST = dt.date(2026, 1, 1), dt.date(2026, 12, 31)


def test_keys_come_back_from_their_file(tmp_path: Path) -> None:
    file = tmp_path / "oem.keys.json"
    made = generate("oem-2026", FIRST, LAST)
    save(made, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load(file).card() == made.card()
    receipt = Ed25519PublicKey.from_public_bytes(made.card().receipt_key())
    receipt.verify(load(file).sign(b"message"), b"message")


def test_two_generated_keys_have_nothing_in_common() -> None:
    one, two = (generate("a", FIRST, LAST).card() for _ in range(2))
    for field in ("x25519", "mlkem768x25519", "receipt_ed25519"):
        assert getattr(one, field) != getattr(two, field)
    suites = ("x25519-aes256gcm", "mlkem768x25519-aes256gcm")
    plain, hybrid = (one.public_key(suite) for suite in suites)
    assert hybrid[1184:] != plain  # no key serves two suites


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "k"
    save(keys("a", 1), file)
    before = file.read_bytes()
    with pytest.raises(BadInput, match="exists already"):
        save(keys("b", 5), file)
    assert file.read_bytes() == before
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="exists already"):
        save(keys("b", 5), tmp_path / "link")
    with pytest.raises(BadInput, match="cannot be written: No such file"):
        save(keys("b", 5), tmp_path / "none" / "k")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_a_key_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "k"
    save(keys("a", 1), file)
    file.chmod(mode)
    with pytest.raises(BadInput, match=f"mode {mode:o}.*chmod 600"):
        load(file)


def test_what_is_no_key_file_ends_in_one_line_without_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "k"
    save(keys("a", 1), file)
    form = json.loads(file.read_text(encoding="utf-8"))
    secret = form["x25519"]
    cases: list[tuple[dict[str, object], str]] = [
        ({"schema": "x"}, "schema"),
        ({"x25519": secret[:-4]}, "x25519: has 30 bytes"),
        ({"mlkem768_seed": secret}, "mlkem768_seed: has 32 bytes"),
        ({"receipt_ed25519": "?"}, "receipt_ed25519: is not base64"),
        ({"not_after": "2020-01-01"}, "before not_before"),
        ({"not_after": 5}, "not_after"),
        ({"more": secret}, "more"),
    ]
    for change, reason in cases:
        file.write_text(json.dumps({**form, **change}), encoding="utf-8")
        with pytest.raises(BadInput, match=reason) as caught:
            load(file)
        assert str(caught.value).startswith(str(file))
        assert "\n" not in str(caught.value)
        assert secret[:8] not in str(caught.value)
    for data in (b"", b"\xff\xfe", b"[" * 20_000, secret.encode()):
        file.write_bytes(data)
        with pytest.raises(BadInput, match=r"is not JSON|larger than") as caught:
            load(file)
        assert secret[:8] not in str(caught.value)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        load(tmp_path / "none")
    with pytest.raises(BadInput, match=r"cannot be read|no regular file"):
        load(tmp_path)


def test_keys_do_not_print_themselves() -> None:
    assert repr(keys("a", 1)) == "RecipientKeys('a')"
