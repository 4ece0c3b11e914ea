"""The client of image registries: against a real one, and against one that does what the real one here doesn't."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Self

import pytest
from flask import Flask, Response, request
from pydantic import SecretStr
from werkzeug.serving import make_server

from release.errors import DifferentError, RegistryError
from release.registry import OCI_INDEX, OCI_MANIFEST, Content, Credentials, digest_of, index_of
from tests.release.project import as_content, images_of
from tests.support.raw_server import RawServer

NAME = "ai-cherry/sync"
OURS = Credentials("octocat", SecretStr("ghs_0123456789abcdef"))
TOKEN = "token-of-the-registry"


class Strict:
    """A registry that wants a token of its own, as GitHub's does, and has the referrers API, which GitHub's hasn't."""

    def __init__(self) -> None:
        self.manifests: dict[str, Content] = {}
        self.lies: dict[str, bytes] = {}
        """What is given in place of a manifest."""
        self.elsewhere = False
        """Whether blobs are to be sent to another host."""
        self.scopes: list[str] = []
        app = Flask(__name__)
        app.before_request(self._admit)
        app.get("/token")(self._token)
        app.put(f"/v2/{NAME}/manifests/<reference>")(self._put)
        app.get(f"/v2/{NAME}/manifests/<reference>")(self._get)
        app.get(f"/v2/{NAME}/referrers/<digest>")(self._referrers)
        app.post(f"/v2/{NAME}/blobs/uploads/")(self._upload)
        app.put(f"/v2/{NAME}/blobs/uploads/<upload>")(lambda **_: ("", 201))
        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.repository = f"127.0.0.1:{self._server.server_port}/{NAME}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def _admit(self) -> Response | None:
        if request.path == "/token" or request.headers.get("Authorization") == f"Bearer {TOKEN}":
            return None
        realm = f'Bearer realm="{self.url}/token",service="registry",scope="ignored"'
        return Response(status=401, headers={"WWW-Authenticate": realm})

    def _token(self) -> Response:
        self.scopes.append(request.args["scope"])
        given = request.authorization
        known = given is not None and (given.username, given.password) == (OURS.user, OURS.token.get_secret_value())
        return Response(json.dumps({"token": TOKEN})) if known else Response(status=401)

    def _put(self, reference: str) -> Response:
        self.manifests[reference] = Content(str(request.content_type), request.get_data())
        subject = self.manifests[reference].json.get("subject", {}).get("digest")
        return Response(status=201, headers={"OCI-Subject": subject} if subject else {})

    def _get(self, reference: str) -> Response:
        found = self.manifests.get(reference)
        if found is None:
            return Response(status=404)
        return Response(self.lies.get(reference, found.data), content_type=found.media_type)

    def _referrers(self, digest: str) -> Response:
        found = [each for each in self.manifests.values() if each.json.get("subject", {}).get("digest") == digest]
        index = index_of([each.descriptor(artifactType=each.json["artifactType"]) for each in found], OCI_INDEX)
        return Response(index.data, content_type=OCI_INDEX)

    def _upload(self) -> Response:
        host = "http://127.0.0.2:1" if self.elsewhere else self.url
        return Response(status=202, headers={"Location": f"{host}/v2/{NAME}/blobs/uploads/1?state=a"})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def strict() -> Iterator[Strict]:
    with Strict() as registry:
        yield registry


SUBJECT = as_content(OCI_MANIFEST, {"schemaVersion": 2, "of": "an image"})
ARTIFACT = as_content("application/vnd.cyclonedx+json", {"bomFormat": "CycloneDX"})


class TestSignIn:
    def test_credentials_are_exchanged_for_a_token_that_may_push_there(self, strict: Strict) -> None:
        images_of(strict.repository, OURS).put_manifest(SUBJECT)
        assert SUBJECT.digest in strict.manifests
        assert strict.scopes == [f"repository:{NAME}:pull,push"]

    def test_one_token_serves_for_everything(self, strict: Strict) -> None:
        images = images_of(strict.repository, OURS)
        images.put_manifest(SUBJECT)
        images.attach(SUBJECT, ARTIFACT, {})
        assert len(strict.scopes) == 1

    def test_refused_credentials_are_told_and_not_shown(self, strict: Strict) -> None:
        wrong = Credentials("octocat", SecretStr("ghs_ffffffffffffffff"))
        with pytest.raises(RegistryError, match="answers HTTP 401") as told:
            images_of(strict.repository, wrong).put_manifest(SUBJECT)
        assert "ghs_" not in str(told.value)

    def test_without_credentials_nothing_but_a_token_to_pull_is_asked_for(self, strict: Strict) -> None:
        with pytest.raises(RegistryError, match="answers HTTP 401"):
            images_of(strict.repository).find("latest")
        assert strict.scopes == [f"repository:{NAME}:pull"]


class TestWhatIsGiven:
    def test_is_what_its_digest_says(self, strict: Strict) -> None:
        images = images_of(strict.repository, OURS)
        images.put_manifest(SUBJECT)
        assert images.manifest(SUBJECT.digest) == SUBJECT
        strict.lies[SUBJECT.digest] = b'{"of": "another image"}'
        with pytest.raises(DifferentError, match=f"gave {digest_of(strict.lies[SUBJECT.digest])} for {SUBJECT.digest}"):
            images.manifest(SUBJECT.digest)

    def test_is_json(self, strict: Strict) -> None:
        images = images_of(strict.repository, OURS)
        strict.manifests["latest"] = Content(OCI_MANIFEST, b"<html>")
        with pytest.raises(DifferentError, match="isn't what it should be"):
            _ = images.manifest("latest").json

    def test_no_blob_is_sent_to_another_host(self, strict: Strict) -> None:
        strict.elsewhere = True
        with pytest.raises(RegistryError, match="wants a blob sent to another host"):
            images_of(strict.repository, OURS).put_blob(ARTIFACT)

    @pytest.mark.parametrize("status", [b"200 OK", b"403 No"])
    def test_that_breaks_off_is_no_answer(self, status: bytes) -> None:
        with RawServer(b"HTTP/1.1 " + status + b'\r\nContent-Length: 99\r\nConnection: close\r\n\r\n{"') as server:
            with pytest.raises(RegistryError, match="can't be reached"):
                images_of(f"{server.url.removeprefix('http://')}/{NAME}", seconds=5).find("latest")
            assert len(server.requests) > 1


class TestReferrers:
    def test_a_registry_with_the_api_gets_no_tag(self, strict: Strict) -> None:
        images = images_of(strict.repository, OURS)
        images.put_manifest(SUBJECT)
        attached = images.attach(SUBJECT, ARTIFACT, {"platform": "linux/amd64"})
        assert set(strict.manifests) == {SUBJECT.digest, attached}
        [found] = images.referrers(SUBJECT.digest)
        assert (found["digest"], found["artifactType"]) == (attached, ARTIFACT.media_type)

    def test_a_registry_without_it_gets_the_tag_that_the_specification_names(self, registry: str) -> None:
        images = images_of(f"{registry}/ai-cherry/referrers-tag")
        blob = as_content("application/vnd.oci.empty.v1+json", {})
        images.put_blob(blob)
        subject = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": blob.descriptor(), "layers": []}
        pushed = as_content(OCI_MANIFEST, subject)
        images.put_manifest(pushed)
        for text in ("first", "second", "first"):
            images.attach(pushed, as_content(ARTIFACT.media_type, {"text": text}), {"text": text})
        tagged = images.manifest(pushed.digest.replace(":", "-"))
        assert tagged.media_type == OCI_INDEX
        assert [each["annotations"]["text"] for each in tagged.json["manifests"]] == ["first", "second"]
        assert images.referrers(pushed.digest) == tagged.json["manifests"]
