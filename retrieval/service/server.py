"""Running the service on a port."""

import uvicorn

from retrieval.service.app import create_app
from retrieval.service.service import Service
from retrieval.service.settings import ServiceSettings


def serve(settings: ServiceSettings, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve until the process is told to end.

    Raises:
        StoreError, ThresholdError, FingerprintError: the files can't be read or don't fit.
    """
    uvicorn.run(create_app(Service(settings)), host=host, port=port, log_level="warning")
