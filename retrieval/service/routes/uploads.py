"""What clients upload."""

from starlette.datastructures import UploadFile


def content_of(upload: UploadFile | None) -> bytes | None:
    """The bytes of an uploaded file; None where there is none, or nothing in it."""
    return None if upload is None else upload.file.read() or None
