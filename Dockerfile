# Of this image only the one binary is used. Its version is the one place that pins the Pulumi CLI: the tools of this
# repository read it from this line.
FROM pulumi/pulumi-base:3.243.0 AS pulumi

FROM python:3.13.15-slim-trixie AS packages
COPY requirements/runtime.txt /tmp/runtime.txt
RUN pip install --no-cache-dir --no-compile --only-binary=:all: --require-hashes --prefix=/packages \
        --requirement=/tmp/runtime.txt

FROM python:3.13.15-slim-trixie AS code
COPY entrypoint.py /opt/sentry-esc-sync/
COPY sophia_sync /opt/sentry-esc-sync/sophia_sync/
# The command line is no part of the action, and what it needs isn't here.
RUN rm -r /opt/sentry-esc-sync/sophia_sync/console /opt/sentry-esc-sync/sophia_sync/__main__.py \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/sentry-esc-sync

FROM python:3.13.15-slim-trixie
LABEL org.opencontainers.image.title="sentry-esc-sync" \
      org.opencontainers.image.description="Carries Sentry credentials from GitHub secrets into a Pulumi ESC environment, and proves that they arrived." \
      org.opencontainers.image.source="https://github.com/ai-cherry/sentry-esc-sync" \
      org.opencontainers.image.documentation="https://github.com/ai-cherry/sentry-esc-sync#readme" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=pulumi /pulumi/bin/pulumi /usr/local/bin/pulumi
COPY --from=packages /packages/lib /usr/local/lib
# Nothing is installed at run time. An import leaves bytecode of what it loads, and of nothing else: of the packages and
# the standard library here, of what our code loads besides below it. So new code is a download of some hundred
# kilobytes.
RUN python -m pip uninstall --yes --quiet pip \
    && python -c "import dotenv, github, pydantic, requests, tenacity, yaml"
COPY --from=code /opt/sentry-esc-sync /opt/sentry-esc-sync
WORKDIR /opt/sentry-esc-sync
RUN python -c "import importlib, pathlib; \
[importlib.import_module('.'.join(path.with_suffix('').parts)) for path in pathlib.Path('sophia_sync').rglob('*.py')]"
WORKDIR /
# GitHub mounts the caller's checkout as the working directory and a writable HOME, and sets the environment: neither
# PYTHON… variables (-E), nor packages in HOME (-s), nor the working directory (it is not on the path of a script) may
# bring in a module. The user is root because GitHub's output files are root's. No shell: it would drop the inputs,
# whose names hold hyphens.
ENTRYPOINT ["/usr/local/bin/python", "-E", "-s", "-B", "-u", "/opt/sentry-esc-sync/entrypoint.py"]
