"""Enrolment: requests of devices are checked, certificates are issued."""
