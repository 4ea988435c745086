"""Reservation: answers "can I still use this node now?", with a time to live and a signed token."""

__version__ = "0.1.0"
