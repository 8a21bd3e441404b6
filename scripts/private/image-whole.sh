# shellcheck shell=bash disable=SC2154,SC2034 # what the caller has, and what its functions use
# What `scripts/image-run --whole` does besides; sourced by it. Expects $run, $tag, $root and its functions.

# The commands of the compose file's services are of these packages.
for program in /usr/lib/podman/netavark /usr/lib/podman/aardvark-dns; do
  [[ -x $program ]] || die "$program is missing: apt-get install --no-install-recommends netavark aardvark-dns"
done
compose=target/tools/compose/bin/podman-compose
if [[ ! -x $compose ]]; then
  python3 -m venv target/tools/compose
  target/tools/compose/bin/pip install -q --disable-pip-version-check podman-compose==1.6.0
fi
printf '[network]\nnetwork_backend = "netavark"\n' >>"$run/containers.conf"
# The builder's caches go there.
export TMPDIR=$root/$run/tmp
mkdir -p "$TMPDIR"

# system FOLDER PACKAGES: a Debian 13 with these.
system() {
  [[ ! -e $1/complete ]] || return 0
  rm -rf "$1"
  "$(tool debootstrap)" --variant=minbase --include="$2" trixie "$1" >"$1.log" 2>&1 || die "debootstrap: $(tail -n 3 "$1.log")"
  rm -rf "$1"/var/cache/apt/archives "$1"/var/lib/apt/lists
  touch "$1/complete"
}

# The toolchain of this machine in the place of rust:…-slim, with what that has besides: a C compiler and no more.
toolchain=$(sed -n 's/^FROM \(rust:.*\) AS .*/\1/p' Dockerfile)
# shellcheck disable=SC2016 # the Dockerfile's variables
for argument in RUST DEBIAN; do
  toolchain=${toolchain//"\${$argument}"/"$(sed -n "s/^ARG $argument=//p" Dockerfile)"}
done
sysroot=$(rustc --print sysroot)
[[ $(rustc --version) == "rustc $(sed -n 's/^ARG RUST=//p' Dockerfile) "* ]] || die "the Dockerfile wants another $(rustc --version)"
system "$run/rust" ca-certificates,gcc,libc6-dev
cp /etc/ssl/certs/ca-certificates.crt "$run/rust/etc/ssl/certs/"
rm -rf "$run/rust/usr/local/cargo" "$run/rust/usr/local/rustup"
mkdir -p "$run/rust/usr/local/cargo/bin" "$run/rust/usr/local/rustup/lib"
cp -a "$sysroot/bin" "$run/rust/usr/local/rustup/"
cp -a "$sysroot/lib/." "$run/rust/usr/local/rustup/lib/"
for program in cargo rustc; do ln -s "../../rustup/bin/$program" "$run/rust/usr/local/cargo/bin/$program"; done
commit "$run/rust" "docker.io/library/$toolchain" --env CARGO_HOME=/usr/local/cargo \
  --env PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# build TAG: by the Dockerfile, from nothing; prints the binary's digest.
build() {
  local container
  rm -rf "$TMPDIR"/buildah-cache*
  buildah bud --pull-never --no-cache --network host --build-arg REVISION="$(git rev-parse HEAD)" --tag "$1" . >>"$run/build.log" 2>&1 || {
    tail -n 20 "$run/build.log" >&2
    die "the image cannot be built"
  }
  container=$(buildah from --pull-never "$1")
  sha256sum <"$(buildah mount "$container")/usr/local/bin/mtasts"
  buildah rm "$container" >/dev/null
}
say "building the image (a quarter of an hour or more)"
first=$(build "$tag")
say "building it again from nothing"
expect "the binary of a second build" "$(build localhost/again)" "$first"

run_compose() {
  say "bringing up docker-compose.yml"
  expect "whether the binary is below 60 MB" "$((size < 60000000))" 1
  system "$run/services" postgresql-17,redis-server
  cp "$(tool pebble)" "$run/services/app"
  # What the image of Postgres does with its variables.
  cat >"$run/services/usr/local/bin/postgres-entrypoint" <<'END'
#!/bin/bash
set -eu
data=/var/lib/postgresql/data
if [ "$(id -u)" = 0 ]; then
  install -d -o postgres -m 700 "$data"
  install -d -o postgres /var/run/postgresql
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0"
fi
if [ ! -e "$data/PG_VERSION" ]; then
  initdb --pgdata="$data" --username="$POSTGRES_USER" --pwfile=<(echo "$POSTGRES_PASSWORD") --auth-host=scram-sha-256 >/dev/null
  echo 'host all all all scram-sha-256' >>"$data/pg_hba.conf"
  pg_ctl --pgdata="$data" --options="-c listen_addresses=''" --wait start >/dev/null
  createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
  pg_ctl --pgdata="$data" --wait stop >/dev/null
fi
exec postgres -D "$data" -c listen_addresses='*'
END
  chmod 755 "$run/services/usr/local/bin/postgres-entrypoint"
  image() { sed -n "s/^    image: \(.*$1.*\)$/\1/p" docker-compose.yml; }
  commit "$run/services" localhost/services
  local container
  # service IMAGE CONFIG…
  service() {
    container=$(buildah from --pull-never localhost/services)
    buildah config "${@:2}" "$container"
    buildah commit -q --rm "$container" "$1" >/dev/null
  }
  service "docker.io/library/$(image postgres:)" --entrypoint '["postgres-entrypoint"]' --volume /var/lib/postgresql/data \
    --env PATH=/usr/lib/postgresql/17/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  service "docker.io/library/$(image redis:)" --entrypoint '' --cmd 'redis-server --protected-mode no'
  service "$(image pebble)" --entrypoint '["/app"]'

  # As the file's head says.
  scripts/private/make-cert target/compose pebble pebble
  MTASTS_OPERATOR_TOKEN=$operator POSTGRES_PASSWORD=$(openssl rand -hex 16)
  export MTASTS_OPERATOR_TOKEN POSTGRES_PASSWORD
  "$compose" up --detach --no-build >"$run/compose.log" 2>&1 || {
    tail -n 20 "$run/compose.log" >&2
    die "docker-compose.yml cannot be brought up"
  }
  if ! await 60 podman exec mtasts_mtasts_1 /usr/local/bin/mtasts admin ready; then
    podman logs mtasts_mtasts_1 2>&1 | tail -n 40 >&2
    die "what docker-compose.yml brings up is not ready within 60 s"
  fi
  api=http://127.0.0.1:8080
  expect "the account at Pebble" "$(podman logs mtasts_mtasts_1 2>&1 | grep -c 'made an ACME account')" 1
  expect "the shared limits" "$(podman logs mtasts_mtasts_1 2>&1 | grep -c 'rate limits are shared through Redis')" 1
  expect "a domain of the compose file's" \
    "$(call POST /v1/domains "$(new_key compose)" '{"name": "example.test", "mx": ["mx1.example.test"]}' | jq -r .name)" example.test
  "$compose" down --volumes >>"$run/compose.log" 2>&1 || true
}
