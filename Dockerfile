# The image of controller and data planes: one static binary, and the authorities
# that BackendTLSPolicies may go by.
FROM golang:1.26 AS build
WORKDIR /src
COPY . .
ARG VERSION=
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /crossfade ./cmd/crossfade

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /crossfade /crossfade
USER 65532:65532
ENTRYPOINT ["/crossfade"]
