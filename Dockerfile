# syntax=docker/dockerfile:1.10
# The image of mtasts: one binary on distroless, no shell, not root.
#
#   docker build --tag registry.example.net/mtasts:0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" .
#
# With `--sbom=true --provenance=true` the builder attests as well; the image has a bill of materials of its own either way.

ARG RUST=1.95.0
ARG DEBIAN=trixie

FROM rust:${RUST}-slim-${DEBIAN} AS toolchain
WORKDIR /src
# No paths of the builder in the binary, no symbols, nothing of the day on which it was built.
ENV CARGO_INCREMENTAL=0 \
    CARGO_PROFILE_RELEASE_DEBUG=0 \
    CARGO_PROFILE_RELEASE_STRIP=symbols \
    CARGO_TERM_COLOR=never \
    RUSTFLAGS="--remap-path-prefix=/src=/mtasts --remap-path-prefix=/usr/local/cargo=/cargo"

# What is in it: CycloneDX. The tool is a layer of its own, which changes with its version alone.
FROM toolchain AS bill
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo install --locked --root /opt/cyclonedx cargo-cyclonedx@0.5.9
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY tools tools
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    PATH=$PATH:/opt/cyclonedx/bin \
    cargo cyclonedx --manifest-path crates/app/Cargo.toml --format json --spec-version 1.5 --override-filename sbom.cdx \
    && install -D -m 644 crates/app/sbom.cdx.json /out/usr/share/doc/mtasts/sbom.cdx.json

FROM toolchain AS build
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY tools tools
COPY migrations migrations
# The caches keep what was compiled before, so that a change of ours compiles ours alone. The limit is a promise.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package mtasts-app \
    && install -D -m 755 target/release/mtasts /out/usr/local/bin/mtasts \
    && test "$(stat --format=%s /out/usr/local/bin/mtasts)" -lt 60000000 \
    && /out/usr/local/bin/mtasts --version \
    && mkdir -p /out/var/lib/mtasts
COPY LICENSE /out/usr/share/doc/mtasts/LICENSE

FROM gcr.io/distroless/cc-debian13:nonroot
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mtasts" \
      org.opencontainers.image.description="A hosted MTA-STS service (RFC 8461) with TLS reporting (RFC 8460)" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian13:nonroot" \
      net.mtasts.sbom="/usr/share/doc/mtasts/sbom.cdx.json" \
      net.mtasts.sbom.format="application/vnd.cyclonedx+json"
COPY --from=bill /out/ /
COPY --from=build --chown=65532:65532 /out/var/lib/mtasts /var/lib/mtasts
COPY --from=build /out/usr /usr
USER 65532:65532
WORKDIR /var/lib/mtasts
ENV MTASTS__DATA_DIR=/var/lib/mtasts
# API; health and metrics; policies, http-01; DNS; reports by mail and by POST.
EXPOSE 8080 9090 8443 8081 5300/udp 5300/tcp 2525 8444
ENTRYPOINT ["/usr/local/bin/mtasts"]
CMD ["all"]
