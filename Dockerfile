# Builds a small static image that holds one program, runs as nobody in
# particular and writes nothing but /data, also with a read-only root file
# system.
#
# GO_IMAGE names a patch release. To build from one image and no other, give
# its digest too: --build-arg GO_IMAGE=golang:1.26.10-bookworm@sha256:…
# Nothing of it is in the result but the certificates.
ARG GO_IMAGE=golang:1.26.10-bookworm
FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
ARG TARGETOS
ARG TARGETARCH
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build -trimpath -buildvcs=false -ldflags "-s -w -X main.buildVersion=${VERSION}" -o /out/countersign ./cmd/countersign \
 && mkdir -p /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/LICENSE /LICENSE
COPY --from=build /src/THIRD_PARTY_NOTICES.txt /THIRD_PARTY_NOTICES.txt
COPY --from=build /out/countersign /countersign
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["/countersign", "healthcheck"]
ENTRYPOINT ["/countersign"]
CMD ["serve"]
