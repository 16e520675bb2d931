# A static binary and nothing else: CA roots and time zones are compiled in.
FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
ARG REVISION=unknown
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -o /out/perfd \
    -ldflags "-s -w \
      -X github.com/prometheus/common/version.Version=${VERSION} \
      -X github.com/prometheus/common/version.Revision=${REVISION}" \
    ./cmd/perfd \
 && mkdir -p /out/var/lib/perfd /out/tmp /out/etc/perfd

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="perfd" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/perfd /bin/perfd
COPY --from=build --chown=65534:65534 /out/var/lib/perfd /var/lib/perfd
COPY --from=build --chown=65534:65534 /out/tmp /tmp
COPY --from=build /out/etc/perfd /etc/perfd
USER 65534:65534
EXPOSE 9797
VOLUME /var/lib/perfd
ENTRYPOINT ["/bin/perfd"]
CMD ["run", "--config.file=/etc/perfd/perfd.yaml", "--storage.path=/var/lib/perfd"]
