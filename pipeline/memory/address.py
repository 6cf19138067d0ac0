"""Where a scene memory is: a file, or a server's address, which is told without its password."""

from urllib.parse import urlsplit

SCHEMES = ("postgresql://", "postgres://")


def is_server(address: str) -> bool:
    """Whether it is a server's address: several processes may use such a memory at a time."""
    return address.startswith(SCHEMES)


def shown(address: str) -> str:
    """The address without the password, nor options, which may hold one; raises `ValueError` where it cannot be read."""
    if not is_server(address):
        return address
    try:
        parts = urlsplit(address)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        # The cause quotes the address.
        raise ValueError("postgresql://user:password@host:port/database is needed") from None
    user = f"{parts.username}@" if parts.username else ""
    return f"postgresql://{user}{parts.hostname or ''}{port}{parts.path}"


def checked(address: str) -> str:
    """The address; raises `ValueError` where it is neither a file's name nor a server's."""
    shown(address)
    if "://" in address and not is_server(address):
        raise ValueError(f"{address.split('://')[0]}:// is not known; a file's name or postgresql:// is needed")
    return address
