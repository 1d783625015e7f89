"""Compute each Spark frame once: a job that is run fifty times on the same input has the same frames.

A frame is known by the hash of its analysed plan, which contains the names of the files that it reads. Files of the
warehouse never change: a replaced date has new names, and its frames are computed.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import readwriter
from pyspark.sql.classic.dataframe import DataFrame


class SparkResults:
    """The results of Spark's actions."""

    def __init__(self, folder: Path) -> None:
        """Start without results; `folder` takes the written files."""
        self._folder = folder
        self._results: dict[tuple[str, int], Any] = {}
        self.n_computed = 0

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Replace the actions that the jobs use."""
        for name in ("collect", "count"):
            patch.setattr(DataFrame, name, self._action(name, getattr(DataFrame, name)))
        write = readwriter.DataFrameWriter.parquet

        def parquet(writer: Any, path: str, *args: Any, **kwargs: Any) -> None:
            local = path.removeprefix("file://")
            files = self._result(
                ("parquet", writer._df.semanticHash()), lambda: self._keep(local, write(writer, path, *args, **kwargs))
            )
            if not Path(local).exists():
                shutil.copytree(files, local)

        patch.setattr(readwriter.DataFrameWriter, "parquet", parquet)

    def _action(self, name: str, action: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda frame: self._result((name, frame.semanticHash()), lambda: action(frame))

    def _result(self, key: tuple[str, int], compute: Callable[[], Any]) -> Any:
        if key not in self._results:
            self.n_computed += 1
            self._results[key] = compute()
        return self._results[key]

    def _keep(self, path: str, _: None) -> Path:
        return Path(shutil.copytree(path, self._folder / str(self.n_computed)))
