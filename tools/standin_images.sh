#!/usr/bin/env bash
# Provide the images that the Dockerfiles build on, and the one that a workflow's job runs in, to this Docker engine.
#
# Pull each image. Where a pull fails, on a machine that reaches a Debian mirror but no container registry, make a
# stand-in under the same name. A stand-in holds what the Dockerfiles use of the real image:
#
#   gcr.io/distroless/python3-debian13  the same Debian packages, users, variables and entry point, in one layer
#   python, node                        Debian with Python at the real image's paths
#   pulumi/pulumi-base                  the Pulumi CLI at its path
#
# An image that a Dockerfile names by digest can have no stand-in. Never publish an image built on one: a release takes
# its base images from their registries.
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

# List the images of the Dockerfiles' FROM lines, without the names of their own stages.
base_images() {
    awk 'toupper($1) == "FROM" {
        image = ($2 ~ /^--/) ? $3 : $2
        if (!(image in stage)) print image
        stage[$NF] = 1
    }' Dockerfile mcp-servers/sentry/Dockerfile | sort -u
}

# The Debian packages of gcr.io/distroless/python3-debian13.
# Source: STATIC_PACKAGES, BASE_PACKAGES, CC_PACKAGES and PYTHON_PACKAGES for debian13, in the files config.bzl of
# github.com/GoogleContainerTools/distroless. Of ca-certificates it takes only the certificates.
distroless_packages=(
    base-files netbase tzdata tzdata-legacy media-types
    libc6 libssl3t64 libzstd1 zlib1g
    libgomp1 libstdc++6 libgcc-s1 gcc-14-base
    libbz2-1.0 libdb5.3t64 libexpat1 liblzma5 libsqlite3-0 libuuid1 libncursesw6 libtinfo6 libcom-err2 libcrypt1
    libc-bin libgssapi-krb5-2 libk5crypto3 libkeyutils1 libkrb5-3 libkrb5support0 libnsl2 libreadline8t64 libtirpc3t64
    libffi8 libpython3.13-minimal libpython3.13-stdlib python3.13-minimal python3.13-venv
)

# Make two root file systems, $cache/NAME-KEY.tar: a small Debian with Python, and the distroless one from the packages
# that this Debian downloads. KEY changes with this script, so that a change makes both anew.
key=$suite-$(sha256sum "${BASH_SOURCE[0]}" | cut -c1-16)
make_root_filesystems() {
    local debian=$scratch/debian
    if [[ -s $cache/debian-$key.tar && -s $cache/distroless-$key.tar ]]; then return; fi
    say "Making a small Debian $suite (half a minute, once)"
    as_root debootstrap --variant=minbase --include=ca-certificates,python3-venv "$suite" "$debian" |
        awk 'NR % 100 == 0 { print "  " NR " steps done" }' >&2
    say "Making the distroless Python from $suite's packages"
    as_root chroot "$debian" /bin/bash -s -- "${distroless_packages[@]}" <<'END'
set -euo pipefail
root=/tmp/distroless
mkdir -p "$root" /tmp/packages
cd /tmp/packages
apt-get -qq update
apt-get -qq -o APT::Sandbox::User=root download "$@" ca-certificates

# Packages are unpacked, never configured: no maintainer script runs. dpkg's database is one file a package.
mkdir -p "$root/var/lib/dpkg/status.d"
for name in "$@"; do
    file=$(ls "${name}"_*.deb)
    dpkg-deb --extract "$file" "$root"
    dpkg-deb --field "$file" >"$root/var/lib/dpkg/status.d/$name"
    dpkg-deb --info "$file" md5sums >"$root/var/lib/dpkg/status.d/$name.md5sums"
done
dpkg-deb --extract ca-certificates_*.deb certificates
mkdir -p "$root/etc/ssl/certs" "$root/usr/share/doc/ca-certificates"
find certificates/usr/share/ca-certificates -type f | sort | xargs cat >"$root/etc/ssl/certs/ca-certificates.crt"
cp certificates/usr/share/doc/ca-certificates/copyright "$root/usr/share/doc/ca-certificates/"
dpkg-deb --field ca-certificates_*.deb >"$root/var/lib/dpkg/status.d/ca-certificates"

# What distroless adds itself.
ln -s python3.13 "$root/usr/bin/python3"
ln -s python3.13 "$root/usr/bin/python"
cat >"$root/etc/passwd" <<'PASSWD'
root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin
PASSWD
printf '%s\n' root:x:0: nobody:x:65534: tty:x:5: staff:x:50: nonroot:x:65532: >"$root/etc/group"
install -d -m 700 "$root/root"
install -d -m 700 -o 65532 -g 65532 "$root/home/nonroot"
install -d -m 1777 "$root/tmp"
rm "$root/etc/os-release"
cat >"$root/etc/os-release" <<'RELEASE'
PRETTY_NAME="Distroless"
NAME="Debian GNU/Linux"
ID="debian"
VERSION_ID="13"
VERSION="Debian GNU/Linux 13 (trixie)"
RELEASE
ldconfig -r "$root"
END
    mkdir -p "$cache"
    keep_root "$debian/tmp/distroless" distroless
    as_root rm -rf "$debian"/tmp/* "$debian"/var/cache/apt "$debian"/var/lib/apt/lists
    # The real image has its own Python, with pip, in /usr/local: a virtual environment lies in the same places.
    as_root chroot "$debian" python3 -m venv /usr/local
    # Packages must install from where this machine installs them.
    as_root cp "${PIP_CERT:-${SSL_CERT_FILE:-$bundle}}" "$debian$bundle"
    if [[ -f /etc/pip.conf ]]; then as_root cp /etc/pip.conf "$debian/etc/pip.conf"; fi
    keep_root "$debian" debian
}

# Keep the folder $1 as $cache/$2-KEY.tar.
keep_root() {
    local tar=$cache/$2-$key.tar
    as_root tar -C "$1" --one-file-system --numeric-owner -cf - . >"$tar.part"
    mv "$tar.part" "$tar"
}

import_debian() {
    local name settings=(--change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin')
    settings+=(--change 'ENV LANG=C.UTF-8' --change 'CMD ["python3"]' --change "ENV PIP_CERT=$bundle")
    for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST; do
        if [[ -n ${!name:-} ]]; then settings+=(--change "ENV $name=${!name}"); fi
    done
    make_root_filesystems
    docker import "${settings[@]}" "$cache/debian-$key.tar" "$1" >/dev/null
}

import_distroless() {
    local user=0 folder=/
    if [[ $1 == *:nonroot ]]; then user=65532 folder=/home/nonroot; fi
    make_root_filesystems
    docker import \
        --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
        --change "ENV SSL_CERT_FILE=$bundle" --change 'ENV LANG=C.UTF-8' \
        --change 'ENTRYPOINT ["/usr/bin/python3.13"]' --change "USER $user" --change "WORKDIR $folder" \
        "$cache/distroless-$key.tar" "$1" >/dev/null
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
    gcr.io/distroless/python3-debian13:*) provide "$image" import_distroless ;;
    python:*) provide "$image" import_debian ;;
    *) say "error: no stand-in is known for $image" && exit 1 ;;
    esac
done
provide "$runner_image" import_debian
