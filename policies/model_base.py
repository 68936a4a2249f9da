"""What the records of all files are made of: names, texts, words of the labels."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

END: Final = r"$(?!\n)"  # a bare $ also matches before a last line break
Name: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}" + END)]
MaybeName: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{0,64}" + END)]
Category: TypeAlias = Annotated[
    str, Meta(pattern=r"^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*" + END, max_length=100)
]
Region: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?" + END)]
Version: TypeAlias = Annotated[int, Meta(ge=1, le=2**53)]
Text: TypeAlias = Annotated[str, Meta(max_length=1000)]
Quantity: TypeAlias = Annotated[str, Meta(max_length=40)]
TierName: TypeAlias = Literal["G1", "G2", "G3", "G4", "important", "core"]
PiName: TypeAlias = Literal["none", "personal", "sensitive"]
FormName: TypeAlias = Literal["aggregate", "anonymous", "deidentified", "raw"]
GeoName: TypeAlias = Literal["none", "coarse", "precise", "surveying"]
RecognitionName: TypeAlias = Literal["none", "candidate", "notified", "statutory"]
Mark: TypeAlias = Literal["law", "ours", "draft"]  # how far to trust a basis
Names: TypeAlias = str | list[str]
