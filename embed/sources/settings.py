from dataclasses import dataclass


@dataclass(frozen=True)
class SourceSettings:
    """Which columns of a source hold what, and where image paths start from.

    `image_root` is a folder or a remote address; where it is None, the manifest's own folder.
    """

    id_column: str = "id"
    image_column: str = "image"
    title_column: str = "title"
    image_root: str | None = None
