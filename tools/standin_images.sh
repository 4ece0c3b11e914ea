#!/usr/bin/env bash
# The images that the Dockerfile builds on, and the one that a workflow's job runs in, for this Docker engine.
#
# Each is pulled. A stand-in under the same name is made only where that fails: on a machine that can't reach a
# container registry but can reach a Debian mirror. A stand-in has what the Dockerfile uses of the real image, and no
# more: Debian with Python at the real one's paths, or the Pulumi CLI at its path. An image that the Dockerfile names by
# its digest can have none. Never publish an image built on one: a release takes its base images from their registries.
#
#   ACT_RUNNER_IMAGE  the image of a workflow's job (default: node:24-trixie-slim)
#   PULL_TIMEOUT      seconds that one pull may take (default: 180)
#   PYTHON            Python 3.11 or later, to find or make the Pulumi CLI (default: python3)
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

runner_image=${ACT_RUNNER_IMAGE:-node:24-trixie-slim}
pull_timeout=${PULL_TIMEOUT:-180}
python=${PYTHON:-python3}
cache=.cache/standins
suite=trixie
bundle=/etc/ssl/certs/ca-certificates.crt

scratch=$(mktemp -d)
trap 'as_root rm -rf "$scratch"' EXIT

say() { printf '%s\n' "$*" >&2; }

as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo -n "$@"; fi
}

# The images of a Dockerfile's FROM lines, less the names of its own stages.
base_images() {
    awk 'toupper($1) == "FROM" {
        image = ($2 ~ /^--/) ? $3 : $2
        if (!(image in stage)) print image
        stage[$NF] = 1
    }' Dockerfile | sort -u
}

# A small Debian with Python, kept as a tar file whose name changes with this script.
debian_tar() {
    local tar rootfs=$scratch/debian
    tar=$cache/$suite-$(sha256sum "${BASH_SOURCE[0]}" | cut -c1-16).tar
    if [[ ! -s $tar ]]; then
        say "Making a small Debian $suite (half a minute, once)"
        as_root debootstrap --variant=minbase --include=ca-certificates,python3-venv "$suite" "$rootfs" |
            awk 'NR % 100 == 0 { print "  " NR " steps done" }' >&2
        # The real image has its own Python, with pip, in /usr/local: a virtual environment lies in the same places.
        as_root chroot "$rootfs" python3 -m venv /usr/local
        # Packages must install from where this machine installs them.
        as_root cp "${PIP_CERT:-${SSL_CERT_FILE:-$bundle}}" "$rootfs$bundle"
        if [[ -f /etc/pip.conf ]]; then as_root cp /etc/pip.conf "$rootfs/etc/pip.conf"; fi
        as_root rm -rf "$rootfs"/var/cache/apt "$rootfs"/var/lib/apt/lists
        mkdir -p "$cache"
        as_root tar -C "$rootfs" --one-file-system -cf - . >"$tar.part"
        mv "$tar.part" "$tar"
    fi
    printf '%s' "$tar"
}

import_debian() {
    local tar name settings=(--change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin')
    settings+=(--change 'ENV LANG=C.UTF-8' --change 'CMD ["python3"]' --change "ENV PIP_CERT=$bundle")
    for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST; do
        if [[ -n ${!name:-} ]]; then settings+=(--change "ENV $name=${!name}"); fi
    done
    tar=$(debian_tar)
    docker import "${settings[@]}" "$tar" "$1" >/dev/null
}

import_pulumi() {
    local pulumi
    pulumi=$("$python" -m tools.pulumi_cli)
    install -D -m 755 "$pulumi" "$scratch/cli/pulumi/bin/pulumi"
    tar -C "$scratch/cli" -c pulumi | docker import - "$1" >/dev/null
}

provide() {
    local image=$1 import=$2
    if docker image inspect "$image" >/dev/null 2>&1; then
        say "$image: present"
    elif timeout "$pull_timeout" docker pull --quiet "$image" >/dev/null 2>&1; then
        say "$image: pulled"
    elif [[ $image == *@* ]]; then
        say "error: $image can't be pulled, and no stand-in can have its digest" && exit 1
    else
        say "$image: can't be pulled, making a stand-in"
        "$import" "$image"
        say "$image: stand-in made"
    fi
}

for image in $(base_images); do
    case $image in
    pulumi/*) provide "$image" import_pulumi ;;
    python:*) provide "$image" import_debian ;;
    *) say "error: no stand-in is known for $image" && exit 1 ;;
    esac
done
provide "$runner_image" import_debian
