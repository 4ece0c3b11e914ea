"""Read what the GitHub runner and the machine tell about this run. `settings.inputs` reads the inputs."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr


@dataclass(frozen=True)
class OidcRequest:
    """The address that gives a job its identity token, and the bearer token to ask with.

    Source: docs.github.com, "OpenID Connect reference".
    """

    url: str
    token: SecretStr


@dataclass(frozen=True)
class RunContext:
    """What the GitHub runner tells about this run; each part is None or false outside of one.

    Source: docs.github.com, "Variables reference".
    """

    on_runner: bool
    output_path: Path | None
    summary_path: Path | None
    api_url: str
    run_id: str | None
    run_attempt: str | None
    run_url: str | None
    oidc: OidcRequest | None = None
    repository: str | None = None
    server_url: str = "https://github.com"

    @property
    def tag(self) -> str | None:
        """The name of this run's revision tag; None outside of a workflow run."""
        return None if self.run_id is None else f"github-run-{self.run_id}-{self.run_attempt or 1}"


def run_context() -> RunContext:
    """Read the runner's own variables."""

    def path(name: str) -> Path | None:
        return Path(os.environ[name]) if os.environ.get(name) else None

    run_id = os.environ.get("GITHUB_RUN_ID") or None
    oidc_url = os.environ.get("ACTIONS_ID_TOKEN_REQUEST_URL")
    oidc_token = os.environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    repository = os.environ.get("GITHUB_REPOSITORY")
    server = os.environ.get("GITHUB_SERVER_URL") or "https://github.com"
    return RunContext(
        on_runner=os.environ.get("GITHUB_ACTIONS") == "true",
        output_path=path("GITHUB_OUTPUT"),
        summary_path=path("GITHUB_STEP_SUMMARY"),
        api_url=os.environ.get("GITHUB_API_URL") or "https://api.github.com",
        run_id=run_id,
        run_attempt=os.environ.get("GITHUB_RUN_ATTEMPT") or None,
        run_url=f"{server}/{repository}/actions/runs/{run_id}" if repository and run_id else None,
        oidc=OidcRequest(oidc_url, SecretStr(oidc_token)) if oidc_url and oidc_token else None,
        repository=repository or None,
        server_url=server,
    )


def colours_are_refused() -> bool:
    """Return whether the person wants no colours, even on a terminal (no-color.org)."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"


def pulumi_login(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder where an existing `pulumi login` keeps its credentials; None if there are none.

    Source: github.com/pulumi/pulumi, `workspace.getCredsFilePath`: PULUMI_CREDENTIALS_PATH, then PULUMI_HOME.
    """
    try:
        # The CLI does the same: HOME counts only if the machine doesn't know the user.
        home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        home = Path(environ.get("HOME", os.curdir))
    folder = Path(environ.get("PULUMI_CREDENTIALS_PATH") or environ.get("PULUMI_HOME") or home / ".pulumi")
    return folder if (folder / "credentials.json").is_file() else None


# The variables that a child process may see: where programs are, and how to reach the network through a company's
# proxy and certificates. No input is among them.
_CHILD_VARIABLES = (
    "PATH",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "PULUMI_CONSOLE_DOMAIN",  # the host of a self-hosted Pulumi console
)


def child_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the part of our environment that a child process may have.

    Give the CA bundle of requests to the Pulumi CLI if it has none of its own.
    """
    found = {name: environ[name] for name in _CHILD_VARIABLES if name in environ}
    bundle = ca_bundle(environ)
    if bundle is not None and not found.keys() & {"SSL_CERT_FILE", "SSL_CERT_DIR"}:
        found["SSL_CERT_DIR" if Path(bundle).is_dir() else "SSL_CERT_FILE"] = bundle
    return found


def ca_bundle(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the file or folder of certificates that requests is told to trust; None if there is none.

    Source: requests.readthedocs.io, "SSL Cert Verification".
    """
    return environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE") or None


@contextlib.contextmanager
def shared_certificates(folder: Path) -> Iterator[None]:
    """Let requests and PyGithub trust the certificates in SSL_CERT_FILE within the block, as the Pulumi CLI does.

    The CLI adds them to the system's. REQUESTS_CA_BUNDLE replaces those of requests, so it names a file with both.

    Args:
        folder: A private folder for that file.
    """
    own = os.environ.get("SSL_CERT_FILE")
    bundle = folder / "certificates.pem"
    if own and ca_bundle() is None:
        from requests.utils import DEFAULT_CA_BUNDLE_PATH  # noqa: PLC0415 - it costs 0.2 s

        # If a file can't be read or there is no room for the new one, requests keeps its own certificates.
        with contextlib.suppress(OSError):
            bundle.write_bytes(Path(DEFAULT_CA_BUNDLE_PATH).read_bytes() + b"\n" + Path(own).read_bytes())
            os.environ["REQUESTS_CA_BUNDLE"] = str(bundle)
    try:
        yield
    finally:
        if ca_bundle() == str(bundle):
            del os.environ["REQUESTS_CA_BUNDLE"]
