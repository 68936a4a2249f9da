"""All cases of the doctor's checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support import (
    doctor_cases_broker,
    doctor_cases_can,
    doctor_cases_files,
    doctor_cases_modbus,
    doctor_cases_policy,
    doctor_cases_store,
    doctor_cases_tls,
    doctor_cases_trust,
    doctor_cases_unit,
)

if TYPE_CHECKING:
    from tests.support.doctor_case import Case

ALL: list[Case] = [
    *doctor_cases_files.CASES,
    *doctor_cases_store.CASES,
    *doctor_cases_can.CASES,
    *doctor_cases_unit.CASES,
    *doctor_cases_policy.CASES,
    *doctor_cases_trust.CASES,
    *doctor_cases_modbus.CASES,
    *doctor_cases_broker.CASES,
    *doctor_cases_tls.CASES,
]
