"""What pyproject.toml cannot say: folders beside src/ go into the wheel, pictures get an address.

recipes/ and editors/ lie at the top of the checkout, where people look for them, and in the wheel
inside the package, where `codling --recipe tiny` finds them (core/packaged.py). The README's
pictures are relative paths; with CODLING_README_URL=https://HOST/PATH/ set, a build makes them
absolute, for pages that show the README without the files beside it.
"""

import os
import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
BESIDE = ("recipes", "editors")


class BuildWithFolders(build_py):
    """Copies the folders beside src/ into the package."""

    def run(self) -> None:
        """As setuptools does, then the folders."""
        super().run()
        if not self.editable_mode:
            for name in BESIDE:
                inside = Path(self.build_lib, "codling", name)
                shutil.copytree(HERE / name, inside, dirs_exist_ok=True)


def readme() -> str:
    """README.md, its pictures with an address where one is given."""
    text = (HERE / "README.md").read_text(encoding="utf-8")
    home = os.environ.get("CODLING_README_URL", "")
    return re.sub(r"\]\((?=docs/)", f"]({home}", text) if home else text


setup(
    cmdclass={"build_py": BuildWithFolders},
    long_description=readme(),
    long_description_content_type="text/markdown",
)
