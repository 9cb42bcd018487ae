"""codling: a code model from your own repositories, from sources to completions in the editor."""

__version__ = "0.2.0"
