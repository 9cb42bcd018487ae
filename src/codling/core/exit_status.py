"""What a verb says together with the exit status of its command, where that is not 0.

Input: a text and a number. Output: both. Not here: the printing and the exit (cli.py).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class TextWithStatus:
    """A verb's text, and the exit status with which its command ends."""

    text: str
    status: int

    def __str__(self) -> str:
        return self.text
