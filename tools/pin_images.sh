#!/usr/bin/env bash
# Write the digest of each base image behind its version in the Dockerfiles. Dependabot then keeps version and digest
# up to date. A registry must be in reach, now and in every build from then on.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

for file in ${DOCKERFILES:-Dockerfile mcp-servers/sentry/Dockerfile}; do
    # The images of FROM lines, less the names of the file's own stages and what has a digest already.
    images=$(awk 'toupper($1) == "FROM" {
        image = ($2 ~ /^--/) ? $3 : $2
        if (!(image in stage) && image !~ /@/) print image
        stage[$NF] = 1
    }' "$file" | sort -u)
    for image in $images; do
        digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$image")
        sed -i -E "/^FROM /I s#( )${image//./\\.}( |\$)#\\1$image@$digest\\2#" "$file"
        echo "$file: $image@$digest"
    done
done
