"""Let `ssh` use the job's own key, on a runner that has no SSH configuration.

Docker and Compose run the `ssh` on PATH. If the environment holds credentials, `client` puts a private folder first on
PATH. The `ssh` in it adds the credentials to the machine's configuration. Without credentials, `ssh` stays as it is.
Source: github.com/docker/cli `cli/connhelper`; ssh_config(5): the first value of an option counts.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

CONFIG = "DEPLOY_SSH_CONFIG"
KNOWN_HOSTS = "DEPLOY_SSH_KNOWN_HOSTS"
PRIVATE_KEY = "DEPLOY_SSH_PRIVATE_KEY"
VARIABLES = (CONFIG, KNOWN_HOSTS, PRIVATE_KEY)


@contextlib.contextmanager
def client(environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield the environment in which `ssh` uses the given credentials. Remove their files afterwards."""
    given = {name: environ[name].strip().replace("\r\n", "\n") + "\n" for name in VARIABLES if environ.get(name)}
    rest = {name: value for name, value in environ.items() if name not in VARIABLES}
    if not given:
        yield rest
        return
    with tempfile.TemporaryDirectory(prefix="deploy-ssh-") as made:
        folder = Path(made)
        real = shutil.which("ssh", path=rest.get("PATH")) or "ssh"
        options = ["BatchMode yes", "ConnectTimeout 15", "ServerAliveInterval 15", "ServerAliveCountMax 4"]
        if PRIVATE_KEY in given:
            _write(folder / "key", given[PRIVATE_KEY])
            options.append(f'IdentityFile "{folder / "key"}"')
        if KNOWN_HOSTS in given:
            _write(folder / "known_hosts", given[KNOWN_HOSTS])
            options += [f'UserKnownHostsFile "{folder / "known_hosts"}"', "GlobalKnownHostsFile /dev/null"]
            options += ["StrictHostKeyChecking yes", "UpdateHostKeys no"]
        ours = "".join(f"{line}\n" for line in ("Host *", *options))
        others = "Host *\nInclude ~/.ssh/config\nInclude /etc/ssh/ssh_config\n"
        _write(folder / "config", ours + given.get(CONFIG, "") + others)
        # With -F, the hops of a ProxyJump use the same configuration.
        _write(folder / "ssh", f'#!/bin/sh\nexec {shlex.quote(real)} -F {shlex.quote(str(folder / "config"))} "$@"\n')
        (folder / "ssh").chmod(0o700)
        yield {**rest, "PATH": f"{folder}:{rest.get('PATH', '')}"}


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
