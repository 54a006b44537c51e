"""What systems and desktops leave in any folder. It is nobody's data: passed over, and never removed."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

# Names in lower case: Windows and macOS write them either way.
_FILES = re.compile(
    r"\.ds_store|\._.*|\.localized|\.nfs[0-9a-f]{8,}|\.fuse_hidden.*"  # macOS, its files on other disks, NFS
    r"|thumbs\.db|ehthumbs\.db|desktop\.ini|\.directory|\.gitkeep|\.keep"
)
_FOLDERS = re.compile(
    r"lost\+found|\.trash-.*|\.trashes|\.spotlight-v100|\.fseventsd|\.temporaryitems|\.appledouble"
    r"|\$recycle\.bin|system volume information|@eadir|\.snapshot"
)


def is_litter(path: str) -> bool:
    """Whether a file, or a folder on the way to it, is no part of anything that is kept here.

    path: relative to a folder of ours, parts joined by '/'.
    """
    *folders, name = PurePosixPath(path.lower()).parts or ("",)
    return any(_FOLDERS.fullmatch(part) for part in (*folders, name)) or bool(_FILES.fullmatch(name))


def is_empty(folder: Path) -> bool:
    """Whether this is a folder in which nothing lies but litter."""
    return folder.is_dir() and all(is_litter(path.name) for path in folder.iterdir())
