"""An image registry by its HTTP API: manifests, blobs, and what refers to an image.

Source: github.com/opencontainers/distribution-spec (`spec.md`, with the referrers tag schema for registries that have
no referrers API, GitHub's among them) and distribution.github.io, "Token authentication".
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from pydantic import SecretStr
from requests import PreparedRequest, RequestException, Response, Session
from requests.auth import AuthBase, HTTPBasicAuth

from release.errors import DifferentError, RegistryError
from sophia_sync.process import Deadline
from sophia_sync.redact import Redactor
from sophia_sync.retries import TRANSIENT_STATUS, retrying

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEXES = (OCI_INDEX, DOCKER_INDEX)
_EMPTY = "application/vnd.oci.empty.v1+json"

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_LONGEST_REQUEST = 60.0
_LARGEST = 32 * 2**20
"""Bytes of a manifest or of a blob that we read; the image's layers are none of them."""
_LONGEST_QUOTE = 300
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True)
class Content:
    """A manifest or a blob, as bytes that its digest was checked against."""

    media_type: str
    data: bytes

    @property
    def digest(self) -> str:
        return digest_of(self.data)

    @property
    def json(self) -> dict[str, Any]:
        """What it says.

        Raises:
            DifferentError: It isn't a JSON object.
        """
        with contextlib.suppress(ValueError):
            said = json.loads(self.data)
            if isinstance(said, dict):
                return said
        raise DifferentError(f"{self.digest} in the registry isn't what it should be: a JSON object.", "Look into it.")

    def descriptor(self, **more: object) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data), **more}


@dataclass(frozen=True)
class Credentials:
    """Who signs in to the registry."""

    user: str
    token: SecretStr


@dataclass(frozen=True)
class _Answer:
    """An answer of the registry with its body."""

    status: int
    headers: Mapping[str, str]
    url: str
    body: bytes

    @property
    def media_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0]


class Registry:
    """One repository of images.

    Args:
        repository: Host and name, as `ghcr.io/owner/name`. Loopback is spoken to without TLS, as Docker does.
        credentials: None is anonymous.
        deadline: Ends waits and repetitions.
        redact: Hides secrets in what the registry says.
    """

    def __init__(self, repository: str, credentials: Credentials | None, deadline: Deadline, redact: Redactor) -> None:
        self.repository = repository
        host, _, self._name = repository.partition("/")
        loopback = host.rpartition(":")[0] in _LOOPBACK or host in _LOOPBACK
        self._url = f"{'http' if loopback else 'https'}://{host}/v2/{self._name}/"
        self._credentials = credentials
        self._deadline = deadline
        self._redact = redact
        self._session = Session()
        # With an `auth` of ours, requests looks for none in the address or in the machine's `.netrc`.
        self._session.auth = _Bearer(None)

    def find(self, reference: str) -> Content | None:
        """The manifest or index of a tag or digest; None if there is none.

        Raises:
            DifferentError: It isn't what its digest says.
        """
        accepted = {"Accept": ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST))}
        answer = self._ask("GET", f"manifests/{reference}", headers=accepted, missing=True)
        if answer is None:
            return None
        content = Content(answer.media_type, answer.body)
        return _checked(content, reference) if reference.startswith("sha256:") else content

    def manifest(self, reference: str) -> Content:
        """As `find`, but there must be one.

        Raises:
            DifferentError: There is none.
        """
        found = self.find(reference)
        if found is None:
            raise DifferentError(f"{self.repository} has no {reference}.", "Push it first, or see what was pushed.")
        return found

    def blob(self, digest: str, media_type: str = "") -> Content:
        return _checked(Content(media_type, self._ask("GET", f"blobs/{digest}").body), digest)

    def put_blob(self, content: Content) -> None:
        """Store a blob; one that is there already isn't sent."""
        if self._ask("HEAD", f"blobs/{content.digest}", missing=True) is not None:
            return
        begun = self._ask("POST", "blobs/uploads/")
        place = urljoin(begun.url, begun.headers["Location"])
        if urlsplit(place)[:2] != urlsplit(self._url)[:2]:
            raise RegistryError(f"{self.repository} wants a blob sent to another host.", "Nothing was sent there.")
        headers = {"Content-Type": "application/octet-stream"}
        self._ask("PUT", place, params={"digest": content.digest}, data=content.data, headers=headers)

    def put_manifest(self, content: Content, reference: str | None = None) -> Mapping[str, str]:
        """Store a manifest or an index, under its digest or a tag; the headers of the answer."""
        where = f"manifests/{reference or content.digest}"
        headers = {"Content-Type": content.media_type}
        answered: Mapping[str, str] = self._ask("PUT", where, data=content.data, headers=headers).headers
        return answered

    def referrers(self, digest: str) -> list[dict[str, Any]]:
        """The descriptors of what refers to a manifest: by the API, and by the tag of registries that have none."""
        found: dict[str, dict[str, Any]] = {}
        answer = self._ask("GET", f"referrers/{digest}", missing=True)
        if answer is not None and answer.media_type == OCI_INDEX:
            found |= _by_digest(Content(OCI_INDEX, answer.body))
        tagged = self.find(_referrers_tag(digest))
        if tagged is not None:
            found |= _by_digest(tagged)
        return list(found.values())

    def attach(self, subject: Content, artifact: Content, annotations: Mapping[str, str]) -> str:
        """Let an artifact refer to a manifest; attached before, it stays as it is.

        Returns:
            The digest of the artifact's own manifest.
        """
        empty = Content(_EMPTY, b"{}")
        for blob in (empty, artifact):
            self.put_blob(blob)
        manifest = _json(
            OCI_MANIFEST,
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "artifactType": artifact.media_type,
                "config": empty.descriptor(),
                "layers": [artifact.descriptor()],
                "subject": subject.descriptor(),
                "annotations": dict(annotations),
            },
        )
        if self.put_manifest(manifest).get("OCI-Subject") != subject.digest:
            entry = manifest.descriptor(artifactType=artifact.media_type, annotations=dict(annotations))
            self._attach_by_tag(subject.digest, entry)
        return manifest.digest

    def _attach_by_tag(self, subject: str, entry: dict[str, Any]) -> None:
        tag = _referrers_tag(subject)
        before = self.find(tag)
        entries = [] if before is None else list(before.json.get("manifests", []))
        if all(each["digest"] != entry["digest"] for each in entries):
            self.put_manifest(index_of([*entries, entry], OCI_INDEX), tag)

    def _ask(self, method: str, where: str, *, missing: bool = False, **what: Any) -> Any:
        """Send a request, again if it may help; None for what is missing, if it may be."""
        url = urljoin(self._url, where)
        try:
            answer = self._answered(method, url, what)
            if answer.status == 401 and self._sign_in(answer):
                answer = self._answered(method, url, what)
        except RequestException as error:
            why = self._redact(f"{type(error).__name__}: {error}")[:_LONGEST_QUOTE]
            raise RegistryError(f"{self.repository} can't be reached: {why}", "Run again when it can.") from None
        if missing and answer.status in (404, 405):
            return None
        if answer.status >= 400:
            said = " ".join(self._redact(answer.body.decode("utf-8", "replace")).split())[:_LONGEST_QUOTE]
            raise RegistryError(
                f"{self.repository} answers HTTP {answer.status} to {method} {urlsplit(url).path}: {said}",
                "See whether the credentials may push there, then run again.",
            )
        return answer

    def _answered(self, method: str, url: str, what: Mapping[str, Any]) -> _Answer:
        def once() -> _Answer:
            seconds = max(1.0, min(_LONGEST_REQUEST, self._deadline.remaining()))
            # On a redirect to another host, as to where a registry stores blobs, requests sends no `Authorization`.
            with self._session.request(method, url, timeout=seconds, stream=True, **what) as answer:
                if answer.status_code in TRANSIENT_STATUS:
                    raise RequestException(f"HTTP {answer.status_code}", response=answer)
                return _Answer(answer.status_code, answer.headers, answer.url, _body(answer))

        def headers_of(error: BaseException) -> Mapping[str, str]:
            answer = getattr(error, "response", None)
            return answer.headers if answer is not None else {}

        return retrying(self._deadline, lambda error: isinstance(error, RequestException), headers_of)(once)

    def _sign_in(self, refusal: _Answer) -> bool:
        """Do what a refusal asks for; whether there is anything to try again with."""
        kind, _, rest = refusal.headers.get("WWW-Authenticate", "").partition(" ")
        asked = dict(_CHALLENGE.findall(rest))
        ours = self._credentials and HTTPBasicAuth(self._credentials.user, self._credentials.token.get_secret_value())
        realm = asked.pop("realm", "")
        if kind.lower() != "bearer" or urlsplit(realm).scheme not in {"https", urlsplit(self._url).scheme}:
            return False
        wanted = {**asked, "scope": f"repository:{self._name}:pull{',push' if ours else ''}"}
        auth = ours or _Bearer(None)
        answer = self._session.get(realm, params=wanted, auth=auth, timeout=_LONGEST_REQUEST, allow_redirects=False)
        said = answer.json() if answer.ok else {}
        token = said.get("token") or said.get("access_token")
        if not token:
            return False
        secret = SecretStr(token)
        self._redact.add(secret)
        self._session.auth = _Bearer(secret)
        return True


class _Bearer(AuthBase):
    """Sends a token, or nothing."""

    def __init__(self, token: SecretStr | None) -> None:
        self._token = token

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token.get_secret_value()}"
        return request


def index_of(manifests: list[dict[str, Any]], media_type: str) -> Content:
    """An index of these descriptors."""
    return _json(media_type, {"schemaVersion": 2, "mediaType": media_type, "manifests": manifests})


def _json(media_type: str, said: dict[str, Any]) -> Content:
    return Content(media_type, json.dumps(said, separators=(",", ":"), sort_keys=True).encode())


def _by_digest(index: Content) -> dict[str, dict[str, Any]]:
    return {entry["digest"]: entry for entry in index.json.get("manifests", [])}


def _referrers_tag(digest: str) -> str:
    return digest.replace(":", "-")


def _checked(content: Content, digest: str) -> Content:
    if content.digest != digest:
        raise DifferentError(f"The registry gave {content.digest} for {digest}.", "Don't use that registry.")
    return content


def _body(answer: Response) -> bytes:
    data = bytearray()
    for piece in answer.iter_content(65536):
        data += piece
        if len(data) > _LARGEST:
            raise DifferentError(f"The registry gave more than {_LARGEST} bytes.", "See what was pushed there.")
    return bytes(data)
