# The image needs this one binary. This line is the one place that pins the version of the Pulumi CLI: the tools of this
# repository read it from here.
FROM pulumi/pulumi-base:3.243.0 AS pulumi

# Install the packages with the pip of the same Python and Debian; the runtime image has none. Of them go the symbols of
# the compiled modules (2 MB on the wire), what only builds and editors read, and `cffi` and `pycparser`, which only a
# build of PyNaCl or cryptography imports, other event loops, and the compiled twin of charset_normalizer's Python code
# (0.2 MB). Their sources stay: some of their licences ask for that.
FROM python:3.13.15-slim-trixie AS packages
# hadolint ignore=DL3008
RUN apt-get update -qq && apt-get install -qq --yes --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
COPY requirements/runtime.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --no-compile --only-binary=:all: --require-hashes --target=/packages \
        --requirement=/tmp/requirements.txt
WORKDIR /packages
RUN find . -name '*.so' -exec strip --strip-unneeded {} + \
    && find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.h' -o -name py.typed -o -name '*.cyclonedx.json' \
        -o -path '*.dist-info/RECORD' -o -path '*.dist-info/INSTALLER' -o -path '*.dist-info/REQUESTED' \
        -o -path '*.dist-info/WHEEL' \) -delete \
    && rm -r bin _yaml cffi cffi-* pycparser pycparser-* pydantic/v1 pydantic/mypy.py \
        anyio/_backends/_trio.py anyio/pytest_plugin.py anyio/to_process.py urllib3/contrib/emscripten \
        charset_normalizer/cli charset_normalizer/*.so

# distroless tags no versions. A release pins the digest.
# hadolint ignore=DL3007
FROM gcr.io/distroless/python3-debian13:latest AS code
COPY entrypoint.py /opt/sentry-esc-sync/
COPY sophia_sync /opt/sentry-esc-sync/sophia_sync/
RUN ["/usr/bin/python3.13", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/opt/sentry-esc-sync"]

# hadolint ignore=DL3007
FROM gcr.io/distroless/python3-debian13:latest
LABEL org.opencontainers.image.title="sentry-esc-sync" \
      org.opencontainers.image.description="Carries Sentry credentials from GitHub secrets into a Pulumi ESC environment, and proves that they arrived." \
      org.opencontainers.image.source="https://github.com/ai-cherry/sentry-esc-sync" \
      org.opencontainers.image.documentation="https://github.com/ai-cherry/sentry-esc-sync#readme" \
      org.opencontainers.image.licenses="Apache-2.0"
# The layers stand in the order in which they change, the code last: a new version of the code is a download of some
# hundred kilobytes.
COPY --from=pulumi /pulumi/bin/pulumi /usr/local/bin/pulumi
COPY --from=packages /packages /usr/local/lib/python3.13/dist-packages
# Each import leaves the bytecode of what it loads, and of nothing else: here of the packages and the standard library,
# below of what our code loads besides. Without it, Python would compile that in every run.
RUN ["/usr/bin/python3.13", "-c", "import anyio, anyio.to_thread, dotenv, github, pydantic, pydantic_settings, requests, tenacity, yaml; \
anyio.open_signal_receiver; anyio.run(anyio.run_process, ['/usr/bin/python3.13', '--version'])"]
COPY --from=code /opt/sentry-esc-sync /opt/sentry-esc-sync
WORKDIR /opt/sentry-esc-sync
# `act` doesn't heed .dockerignore, so that the command line is here, whose packages are not.
RUN ["/usr/bin/python3.13", "-c", "import importlib, pathlib; \
[importlib.import_module('.'.join(path.with_suffix('').parts)) for path in pathlib.Path('sophia_sync').rglob('*.py') \
if 'console' not in path.parts and path.name != '__main__.py']"]
WORKDIR /
# GitHub mounts the caller's checkout as the working directory and a writable HOME, and sets the environment. Nothing of
# these may bring in a module: not PYTHON… variables (-E), not packages in HOME (-s), and the working directory isn't on
# a script's path. The user is root because GitHub's output files belong to root. There is no shell, which would drop
# the inputs: their names hold hyphens.
# hadolint ignore=DL3002
USER 0
ENTRYPOINT ["/usr/bin/python3.13", "-E", "-s", "-B", "-u", "/opt/sentry-esc-sync/entrypoint.py"]
