"""Makers' habits: corners of a car, units named before a name, German compounds."""

from __future__ import annotations

from typing import Final

CORNERS: Final = {  # token: (row, side)
    "fl": (1, "Left"), "lf": (1, "Left"), "vl": (1, "Left"), "frontleft": (1, "Left"),
    "fr": (1, "Right"), "rf": (1, "Right"), "vr": (1, "Right"), "rl": (2, "Left"),
    "lr": (2, "Left"), "hl": (2, "Left"), "bl": (2, "Left"), "rr": (2, "Right"),
    "hr": (2, "Right"), "br": (2, "Right"),
}  # fmt: skip

# Names of units that makers put before everything that the unit sends; as the first
# token of a name they are words of the message, not of the name.
SENDERS: Final[dict[str, tuple[str, ...]]] = {
    "mo": ("engine",), "motor": ("engine",), "eng": ("engine",), "ecm": ("engine",),
    "ems": ("engine",), "pcm": ("engine",), "ge": ("transmission",),
    "tcm": ("transmission",), "esp": ("stability",), "esc": ("stability",),
    "abs": ("stability",), "ebcm": ("stability",), "vsc": ("stability",),
    "epb": ("parking", "brake"), "bms": ("traction", "battery"),
    "becm": ("traction", "battery"), "acc": ("automation",), "es": ("automation",),
    "das": ("automation",), "lkas": ("automation",), "adas": ("automation",),
    "ascm": ("automation",), "bcm": ("body",), "kbi": ("cluster",),
    "kombi": ("cluster",), "clu": ("cluster",), "kl": ("climate",),
    "klima": ("climate",), "datc": ("climate",), "sccm": ("steer", "column"),
    "lwi": ("steer",), "eps": ("steer",), "pscm": ("steer",), "sas": ("steer",),
    "yrs": ("inertial",), "mdps": ("steer",), "ab": ("airbag",),
    "psd": ("predicted", "street"), "klr": ("capacitive",),
    "dms": ("driver", "monitoring"), "gps": ("gnss",), "gnss": ("gnss",),
    "nav": ("navigation",), "navi": ("navigation",), "pcs": ("automation",),
    "nv": ("navigation",), "tbt": ("navigation",), "amp": ("amplifier",),
    "zv": ("lock",), "rsa": ("traffic", "sign"), "di": (), "ui": (), "can": (),
    "sw": (), "ld": (), "cf": (), "cr": (), "c": (), "hu": (), "mm": (),
}  # fmt: skip

# Last parts of German compounds: what a word that nobody knows still is.
HEADS: Final = (
    "geschwindigkeit", "beschleunigung", "temperatur", "spannung", "leistung",
    "schalter", "energie", "entriegelung", "verriegelung", "fenster", "spiegel",
    "schloss", "moment", "winkel", "geschw", "beschl", "fehler", "taster", "lampe",
    "strom", "druck", "licht", "rollo", "taste", "lenk", "tuer", "sitz", "gurt",
)  # fmt: skip
