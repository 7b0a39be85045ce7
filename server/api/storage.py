"""Uploads, in the five flows that fal's clients know, and downloads.

token, then POST the bytes                 fal_client, files up to 100 MB
token, then parts, then complete           fal_client, larger files
initiate, then PUT the bytes               fal_client's fallback, JavaScript, Swift
initiate-multipart, parts, complete        JavaScript, files above 90 MB
POST the bytes with the key                fal_client up to 0.5.3
"""

from __future__ import annotations

import mimetypes
from datetime import UTC, datetime, timedelta

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from server.api.bodies import chunks, read_body
from server.api.errors import answer, bad_request, not_found
from server.api.headers import lifetime
from server.api.validation import parse_object, validate
from server.media.content_types import shown_in_browser
from server.media.uploads import Incoming, Upload
from server.schemas.storage import CompleteInput, InitiateInput
from server.services import Services

PASS_LIFE = 3600.0  # seconds
BUFFER = 2**20
"""Bytes gathered before they go to the disk: each write is a trip to a thread."""
_LIFETIMES = ("x-fal-object-lifecycle", "x-fal-object-lifecycle-preference")


class Storage:
    """The handlers of `/rest/storage` and `/cdn`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._uploads = services.uploads

    def routes(self) -> list[Route]:
        """Return the routes."""
        upload = "/rest/storage/upload"
        part = "/cdn/files/{token}/{name}/multipart/{upload}"
        put = "/cdn/put/{upload}/{name}"
        return [
            Route("/cdn/files/upload/multipart", self.begin_parts, methods=["POST"]),
            Route("/cdn/files/upload", self.upload, methods=["POST"]),
            Route("/cdn/files/{token}/{name}", self.download),
            Route(f"{part}/complete", self.complete, methods=["POST"]),
            Route(f"{part}/{{number:int}}", self.put_part, methods=["PUT"]),
            Route(f"{put}/complete", self.complete, methods=["POST"]),
            Route(f"{put}/{{number:int}}", self.put_part, methods=["PUT"]),
            Route(put, self.put, methods=["PUT"]),
            Route("/rest/storage/auth/token", self.issue_pass, methods=["POST"]),
            Route(f"{upload}/initiate", self.initiate, methods=["POST"]),
            Route(f"{upload}/initiate-multipart", self.initiate, methods=["POST"]),
        ]

    async def issue_pass(self, request: Request) -> Response:
        """Return a short-lived pass for the calls to the CDN."""
        expires = datetime.now(UTC) + timedelta(seconds=PASS_LIFE)
        return answer(
            {
                "token": self._services.passes.issue(request.scope["owner"], PASS_LIFE),
                "token_type": "Bearer",
                "base_url": f"{request.scope['urls'].files}/cdn",
                # With an offset: Python before 3.11 cannot read a `Z`.
                "expires_at": expires.isoformat(timespec="seconds"),
            }
        )

    async def upload(self, request: Request) -> Response:
        """Store the body as a file."""
        upload = await self._announce_from_headers(request)
        await self._store(request, upload)
        return answer({"access_url": _url(request, upload.path)})

    async def begin_parts(self, request: Request) -> Response:
        """Announce a file that will come in parts."""
        upload = await self._announce_from_headers(request)
        return answer({"access_url": _url(request, upload.path), "uploadId": upload.id})

    async def initiate(self, request: Request) -> Response:
        """Announce a file, whole or in parts, and return the secret URL to put it to."""
        settings = self._services.settings
        raw = await read_body(request, settings.max_json_bytes, settings.body_timeout)
        wire = validate(InitiateInput, parse_object(raw))
        ttl = lifetime(request.headers, *_LIFETIMES)
        name = wire.file_name or _unnamed(wire.content_type)
        upload = await run_in_threadpool(self._uploads.announce, name, ttl)
        put = f"/cdn/put/{upload.id}/{upload.file_name}"
        return answer({"upload_url": _url(request, put), "file_url": _url(request, upload.path)})

    async def put(self, request: Request) -> Response:
        """Store the body as the announced file."""
        upload = self._uploads.find(request.path_params["upload"])
        if self._uploads.stored(upload) is None:
            await self._store(request, upload)
        return answer({"file_url": _url(request, upload.path)})

    async def put_part(self, request: Request) -> Response:
        """Keep the body as one part of the announced file."""
        upload, number = self._uploads.find(request.path_params["upload"]), 0
        with await run_in_threadpool(self._uploads.receive, upload) as incoming:
            await self._pour(request, incoming)
            number = request.path_params["number"]
            try:
                etag = await run_in_threadpool(self._uploads.keep_part, upload, number, incoming)
            except ValueError as error:
                raise bad_request(str(error)) from None
        # Python reads the etag from the header, JavaScript from the body.
        return answer({"partNumber": number, "etag": etag}, headers={"etag": f'"{etag}"'})

    async def complete(self, request: Request) -> Response:
        """Join the parts."""
        settings = self._services.settings
        upload = self._uploads.find(request.path_params["upload"])
        raw = await read_body(request, settings.max_json_bytes, settings.body_timeout)
        numbers = [part.partNumber for part in validate(CompleteInput, parse_object(raw)).parts]
        if self._uploads.stored(upload) is None:
            await run_in_threadpool(self._uploads.assemble, upload, numbers)
        url = _url(request, upload.path)
        return answer({"access_url": url, "file_url": url})

    async def download(self, request: Request) -> Response:
        """Return a stored file, or the ranges of it that were asked for."""
        artifacts = self._services.artifacts
        file = artifacts.find(request.path_params["token"])
        if file is None:
            message = "File not found"
            raise not_found(message)
        etag = f'"{file.sha256}"'
        headers = {
            "etag": etag,
            "x-content-type-options": "nosniff",
            # A cache may keep it, but asks whether it is still there: files expire.
            "cache-control": "private, no-cache",
        }
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return FileResponse(
            artifacts.blob(file),
            headers=headers,
            media_type=file.content_type,
            filename=file.file_name,
            content_disposition_type="inline"
            if shown_in_browser(file.content_type)
            else "attachment",
        )

    async def _announce_from_headers(self, request: Request) -> Upload:
        name = request.headers.get("x-fal-file-name")
        ttl = lifetime(request.headers, *_LIFETIMES)
        name = name or _unnamed(request.headers.get("content-type", ""))
        return await run_in_threadpool(self._uploads.announce, name, ttl)

    async def _store(self, request: Request, upload: Upload) -> None:
        with await run_in_threadpool(self._uploads.receive, upload) as incoming:
            await self._pour(request, incoming)
            await run_in_threadpool(self._uploads.complete, upload, incoming)

    async def _pour(self, request: Request, incoming: Incoming) -> None:
        settings = self._services.settings
        buffer = bytearray()
        async for chunk in chunks(request, settings.max_upload_bytes, settings.body_timeout):
            buffer += chunk
            if len(buffer) >= BUFFER:
                await run_in_threadpool(incoming.write, bytes(buffer))
                buffer.clear()
        await run_in_threadpool(incoming.write, bytes(buffer))


def _url(request: Request, path: str) -> str:
    return f"{request.scope['urls'].files}{path}"


def _unnamed(content_type: str) -> str:
    # fal_client's upload_image sends no name.
    return f"file{mimetypes.guess_extension(content_type.partition(';')[0].strip()) or ''}"
