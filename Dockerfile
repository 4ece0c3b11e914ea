# The image needs this one binary. This line is the one place that pins the version of the Pulumi CLI: the tools of this
# repository read it from here.
FROM pulumi/pulumi-base:3.274.1 AS pulumi

# Install the packages with the pip of the same Python and Debian, because the runtime image has none. Keep their
# licences, what scanners read of their metadata, and each module once: as bytecode, which Python loads without the
# source. Only anyio reads its own source, to import its parts when they are used. Remove the symbols of compiled modules,
# and what no sync imports: a test compares what is left with the imports of a full run. Python trusts the system's
# certificates, as the CLI does.
FROM python:3.13.15-slim-trixie AS packages
# hadolint ignore=DL3008
RUN apt-get update -qq && apt-get install -qq --yes --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
COPY requirements/runtime.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --no-compile --only-binary=:all: --require-hashes --target=/packages \
        --requirement=/tmp/requirements.txt
WORKDIR /packages
RUN rm -r bin _yaml cffi cffi-* pycparser pycparser-* annotated_types/test_cases.py anyio/_backends/_trio.py \
        anyio/from_thread.py anyio/functools.py anyio/itertools.py anyio/pytest_plugin.py anyio/to_interpreter.py \
        anyio/to_process.py certifi/tests charset_normalizer/cli charset_normalizer/*.so \
        cryptography/cobblestone.py cryptography/fernet.py cryptography/hazmat/asn1 \
        cryptography/hazmat/primitives/twofactor dotenv/cli.py dotenv/ipython.py idna/cli.py dotenv/version.py \
        jwt/help.py nacl/hash.py nacl/hashlib.py nacl/pwhash nacl/secret.py nacl/signing.py pydantic/color.py \
        pydantic/deprecated pydantic/experimental pydantic/mypy.py pydantic/v1 requests/help.py \
        tenacity/_version.py tenacity/tornadoweb.py urllib3/contrib/emscripten urllib3/contrib/pyopenssl.py \
        urllib3/http2/connection.py \
    && find . -name __main__.py -delete \
    && find . -type f ! -name '*.py' ! -name '*.so' ! -name cacert.pem ! -path '*.dist-info/METADATA' \
        ! -path '*.dist-info/licenses/*' -delete \
    && find . -type d -empty -delete \
    && find . -name METADATA -exec sed -i '/^$/,$d' {} + \
    && find . -name '*.so' -exec strip --strip-unneeded {} + \
    && ln -sf /etc/ssl/certs/ca-certificates.crt certifi/cacert.pem \
    && python3 -m compileall -q -b --invalidation-mode unchecked-hash -x '^\./anyio/' . \
    && find . -name '*.py' ! -path './anyio/*' -delete

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
# The layers stand in the order in which they change, the code last: of new code, a build with a cache makes only some
# hundred kilobytes anew.
COPY --from=pulumi /pulumi/bin/pulumi /usr/local/bin/pulumi
COPY --from=packages /packages /usr/local/lib/python3.13/dist-packages
# Each import leaves the bytecode of what it loads of anyio and the standard library, and of nothing else: here for the
# packages, below for what our code loads besides. Without it, Python would compile that in every run.
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
