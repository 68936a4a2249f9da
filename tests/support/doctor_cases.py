"""All cases of the doctor's checks."""

from __future__ import annotations

from tests.support import doctor_cases_can, doctor_cases_files
from tests.support.doctor_case import Case

ALL: list[Case] = [*doctor_cases_files.CASES, *doctor_cases_can.CASES]
__all__ = ["ALL", "Case"]
