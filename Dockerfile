# One image for every role; the command says which: ingest, pipeline, query, or `tidemark serve` for all in one.
FROM rust:1.95-bookworm AS build
WORKDIR /src
# `dist` builds longer than `release`, for less CPU.
ARG PROFILE=release
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --locked --profile $PROFILE --workspace --bins && \
    install -D --target-directory=/out target/$PROFILE/ingest target/$PROFILE/pipeline target/$PROFILE/query target/$PROFILE/tidemark

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/tidemark --create-home tidemark
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/ /usr/local/bin/
USER 10001:10001
WORKDIR /var/lib/tidemark
ENV TIDEMARK__SERVE__LISTEN=0.0.0.0:8080
EXPOSE 8080 8081
VOLUME /var/lib/tidemark
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=6 \
    CMD ["tidemark", "health", "--url", "http://127.0.0.1:8080/readyz"]
CMD ["tidemark", "serve"]
