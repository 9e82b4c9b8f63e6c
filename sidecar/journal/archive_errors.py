"""What can go wrong with the archive. Owns the errors only: who names them need not load a database's client."""


class ArchiveError(Exception):
    """The archive cannot be used as it is; the text says why and the mend. Trying again does not help."""


class ArchiveAway(ArchiveError):
    """The database does not answer, or has no room; trying again later may help."""
