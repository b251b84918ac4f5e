"""Where the files of a log lie (`littoral.artifact.disk`)."""

from littoral.artifact.disk import Disk, FolderDisk

__all__ = ["Disk", "FolderDisk"]
