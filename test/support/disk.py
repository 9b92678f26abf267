"""A model of a disk below SQLite in this process: what is on it after a power cut at any moment.

All writes and syncs of a folder's files are intercepted: SQLite's by replacing the addresses of the C library's
functions in the loaded library (its GOT), Python's by monkeypatching `os`. A write is in the page cache until a sync of
its file that began after it has completed. A file is created or deleted when its directory was synced after that.
"""

import contextlib
import ctypes
import errno
import os
import platform
import struct
import threading
from dataclasses import dataclass, field
from pathlib import Path

_RELOCATIONS = {"x86_64": {1, 6, 7}, "aarch64": {257, 1025, 1026}}
"""Numbers of ABS64, GLOB_DAT and JUMP_SLOT: places of the address of a function."""
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.pwrite64.restype = ctypes.c_ssize_t
_WRITE = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, use_errno=True
)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int64, use_errno=True)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, use_errno=True)


@dataclass
class _File:
    on_disk: bytearray = field(default_factory=bytearray)
    cached: list = field(default_factory=list)
    """Writes and truncations that no sync has covered: (offset, bytes), or (size, None)."""


def _apply(content, change):
    offset, written = change
    if written is None:
        content[:] = content[:offset].ljust(offset, b"\0")
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(written)] = written


class Disk:
    """The disk of one folder.

    Attributes:
        at_sync: called with the name of a file before each sync of it; may raise OSError. The kernel then drops what it
            has not written, reports it once, and later syncs succeed.
        syncs: number of syncs of files that have completed.
    """

    def __init__(self, folder):
        self.folder = Path(folder).resolve()
        self.at_sync = lambda _name: None
        self.syncs = 0
        self._files = {}
        self._named = set()
        self._lock = threading.Lock()

    def image(self, generator=None):
        """Return what is on disk after a power cut now, by name. The generator chooses cached writes that are, too."""
        found = {}
        with self._lock:
            for name in self._named & self._files.keys():
                content = bytearray(self._files[name].on_disk)
                for change in self._files[name].cached:
                    if generator is not None and generator.random() < 0.5:
                        _apply(content, change)
                found[name] = bytes(content)
        return found

    def _file(self, descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        wanted = path.parent == self.folder and not path.name.endswith("-shm")
        return self._files.setdefault(path.name, _File()) if wanted else None

    def _changed(self, descriptor, offset, written):
        with self._lock:
            if (file := self._file(descriptor)) is not None:
                file.cached.append((offset, written))

    def sync(self, descriptor, real):
        """Sync a file or the folder."""
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path == self.folder:
            with self._lock:
                self._named = {each.name for each in self.folder.iterdir()}
                self._files = {name: file for name, file in self._files.items() if name in self._named}
        with self._lock:
            file = self._file(descriptor)
            covered = len(file.cached) if file else 0
        if file is None:
            real(descriptor)
            return
        try:
            self.at_sync(path.name)
            real(descriptor)
        except OSError:
            with self._lock:
                del file.cached[:covered]
            raise
        with self._lock:
            for change in file.cached[:covered]:
                _apply(file.on_disk, change)
            del file.cached[:covered]
            self.syncs += 1

    @contextlib.contextmanager
    def below_sqlite(self, monkeypatch):
        """Intercept what the process writes to the folder."""

        def pwrite(descriptor, address, size, offset):
            self._changed(descriptor, offset, ctypes.string_at(address, size))
            return _LIBC.pwrite64(descriptor, ctypes.c_void_p(address), size, ctypes.c_int64(offset))

        def ftruncate(descriptor, size):
            self._changed(descriptor, size, None)
            return _LIBC.ftruncate64(descriptor, ctypes.c_int64(size))

        def sync(descriptor):
            try:
                self.sync(descriptor, os_fsync)
            except OSError as error:
                ctypes.set_errno(error.errno)
                return -1
            return 0

        os_fsync, os_fdatasync, os_truncate = os.fsync, os.fdatasync, os.truncate

        def truncate(path, size):
            with self._lock:
                if Path(path).resolve().parent == self.folder:
                    self._files.setdefault(Path(path).name, _File()).cached.append((size, None))
            os_truncate(path, size)

        monkeypatch.setattr(os, "fsync", lambda descriptor: self.sync(descriptor, os_fsync))
        monkeypatch.setattr(os, "fdatasync", lambda descriptor: self.sync(descriptor, os_fdatasync))
        monkeypatch.setattr(os, "truncate", truncate)
        hooks = {"fsync": _SYNC(sync), "fdatasync": _SYNC(sync)}
        hooks |= dict.fromkeys(("pwrite", "pwrite64"), _WRITE(pwrite))
        hooks |= dict.fromkeys(("ftruncate", "ftruncate64"), _TRUNCATE(ftruncate))
        with _replaced(hooks) as places:
            assert any(name.startswith("pwrite") for name in places), places
            assert "fdatasync" in places, places
            yield self
        monkeypatch.undo()


def fail():
    """Fail as the kernel does when the device has failed."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@contextlib.contextmanager
def _replaced(hooks):
    """Replace functions by others where the loaded library of SQLite calls them. Yield the places by names."""
    places = {}
    for name, address in _places():
        if name in hooks:
            places.setdefault(name, []).append(address)
    former = [
        (address, _exchange(address, ctypes.cast(hooks[name], ctypes.c_void_p).value))
        for name, addresses in places.items()
        for address in addresses
    ]
    try:
        yield places
    finally:
        for address, function in former:
            _exchange(address, function)


def _exchange(address, value):
    page = address & ~(os.sysconf("SC_PAGE_SIZE") - 1)
    # The loader has made some of these pages read-only.
    assert _LIBC.mprotect(ctypes.c_void_p(page), os.sysconf("SC_PAGE_SIZE"), 3) == 0  # to be read and written
    slot = ctypes.c_void_p.from_address(address)
    former, slot.value = slot.value, value
    return former


def _places():
    """Return the names of imported functions and the addresses of their addresses, of all libraries named sqlite3."""
    loaded = {}
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and "sqlite3" in fields[5] and ".so" in fields[5] and int(fields[2], 16) == 0:
            loaded.setdefault(fields[5], int(fields[0].split("-")[0], 16))
    for path, base in loaded.items():
        yield from ((name, base + offset) for name, offset in _relocations(Path(path).read_bytes()))


def _relocations(elf):
    offset, size, count = struct.unpack_from("<Q", elf, 40)[0], *struct.unpack_from("<HH", elf, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, offset + number * size) for number in range(count)]
    for _, kind, _, _, start, length, link, *_ in sections:
        if kind != 4:  # SHT_RELA
            continue
        symbols = sections[link]
        names = sections[symbols[6]][4]
        for at in range(start, start + length, 24):
            where, info, _ = struct.unpack_from("<QQq", elf, at)
            if info >> 32 and info & 0xFFFFFFFF in _RELOCATIONS[platform.machine()]:
                name = names + struct.unpack_from("<I", elf, symbols[4] + (info >> 32) * 24)[0]
                yield elf[name : elf.index(b"\0", name)].decode(), where
