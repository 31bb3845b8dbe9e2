"""Paths and network addresses: telling one from the other, and joining them."""

import os
import re

NETWORK_PROTOCOLS = frozenset(("http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"))
PROTOCOL = r"^([A-Za-z][A-Za-z0-9+.:-]*)://"  # the colon: chains such as zip::https://
_CHAIN = re.compile(r"::[A-Za-z0-9+.-]*://")


def is_address(text: str) -> bool:
    """True for what has a protocol, whether one that is fetched or not; False for a path."""
    return re.match(PROTOCOL, text) is not None


def protocol_of(address: str) -> str:
    """What stands before `://`, in lower case."""
    return address.partition("://")[0].lower()


def is_fetched(address: str) -> bool:
    """True for an address of a network protocol, and of that alone.

    Local protocols (file, memory, zip, …) and chains of protocols are none: a manifest could read
    any file of this machine through them.
    """
    return protocol_of(address) in NETWORK_PROTOCOLS and not _CHAIN.search(address)


def refusal(address: str) -> str:
    """Why an address is not fetched."""
    names = ", ".join(f"{name}://" for name in sorted(NETWORK_PROTOCOLS))
    return f"{address} is not fetched: an address starts with one of {names}"


def joined(root: str, text: str) -> str:
    """The path or address of what a manifest calls `text`.

    Below a remote root every path is relative, so that a remote manifest names no local file.
    """
    if is_address(text):
        return text
    if is_address(root):
        return f"{root.rstrip('/')}/{text.lstrip('/')}"
    return os.path.join(root, text)  # noqa: PTH118 (Path takes ten times as long)


def parent(address: str) -> str:
    """The folder of a remote file, without its query."""
    path = address.partition("?")[0].partition("#")[0]
    return path.rpartition("/")[0]


def file_name(address: str) -> str:
    """The last part of a path or an address, without a query."""
    path = address.partition("?")[0].partition("#")[0] if is_address(address) else address
    return path.rpartition("/")[2]
