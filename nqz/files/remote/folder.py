"""A folder of a store to be written: built here, then sent file by file, those last that say what belongs to it.

No store shows a folder at once. One that holds something is never replaced; where a file cannot be sent, those that
were are taken back.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable

from nqz.files.access import output_error
from nqz.files.folder import OutputFolder
from nqz.files.mark import FILE as MARK
from nqz.files.remote import folders
from nqz.files.remote.stores import find_store
from nqz.files.remote.upload import Upload, upload_to
from nqz.ground.errors import OutputError, OutputExistsError
from nqz.ground.urls import is_url, joined, shown

_LAST = (".index.json",)


class StoreFolder(OutputFolder):
    """A folder to be filled and published by `commit`; leaving the context without that writes nothing.

    Parameters
    ----------
    target : str
        An address.
    force, inputs, check
        See `OutputFolder`; what is in a folder of a store is not replaced by force either.

    Raises
    ------
    OutputExistsError
        There is something, or the target is an input.
    OutputError
        It cannot be created.
    """

    def __init__(
        self, target: str, *, force: bool = False, inputs: Iterable[str] = (), check: Callable[[], object] | None = None
    ) -> None:  # fmt: skip
        upload_to(joined(target.rstrip("/"), "file"))  # refuses stores that take nothing
        self._url = target.rstrip("/")
        self._store, self._top = find_store(self._url)
        name = shown(self._url)
        for one in map(shown, filter(is_url, inputs)):
            if f"{one.rstrip('/')}/".startswith(f"{name}/") or f"{name}/".startswith(f"{one.rstrip('/')}/"):
                raise OutputExistsError(f"{name}: and the input {one} are in each other; write elsewhere")
        if self._present():
            raise OutputExistsError(
                f"{name}: holds something already, and no folder of a store is replaced; write to another, or empty it"
            )
        try:
            self._here = tempfile.TemporaryDirectory(prefix="nqz-")
        except OSError as error:
            raise output_error(f"temporary copy of {name} (TMPDIR says where)", error) from error
        try:
            super().__init__(os.path.join(self._here.name, "folder"), check=check)
        except BaseException:
            self._here.cleanup()
            raise
        self.name = name

    def _present(self) -> bool:
        self._store.invalidate_cache()
        try:
            return bool(folders.exists(self._url) and folders.names_in(self._url))
        except FileNotFoundError:
            return False

    def commit(self) -> None:
        """See `OutputFolder.commit`.

        Raises
        ------
        OutputError
            A file cannot be sent.
        """
        super().commit()
        top, sent = os.path.join(self._here.name, "folder"), list[Upload]()
        names = [
            os.path.relpath(os.path.join(where, name), top)
            for where, _, found in os.walk(top)
            for name in found
            if name != MARK
        ]
        try:
            if self._present():
                raise OutputExistsError(f"{self.name}: appeared meanwhile; write to another folder")
            for name in sorted(names, key=lambda name: (name.endswith(_LAST), name)):
                upload = Upload(self._store, f"{self._top.rstrip('/')}/{name}", joined(self.name, name))
                sent.append(upload)
                with open(os.path.join(top, name), "rb") as file:
                    upload.put(file.fileno(), os.fstat(file.fileno()).st_size, True)
        except BaseException as error:
            for upload in sent:
                upload.withdraw()
            if isinstance(error, OSError):
                raise OutputError(f"{self.name}: cannot write: {error}") from error
            raise

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._here.cleanup()
