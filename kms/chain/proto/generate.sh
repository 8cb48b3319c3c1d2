#!/bin/sh
# generate.sh [MODULE…] regenerates kms/chain/x/MODULE/types/*.pb.go, of every
# module when none is named, from the .proto files here. Needs protoc (Debian:
# protobuf-compiler) and Go; run through `go generate ./kms/chain/...`.
set -eu
cd "$(dirname "$0")"
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
GOBIN=$bin go install github.com/cosmos/gogoproto/protoc-gen-gocosmos@v1.7.2
sdk=$(go list -m -f '{{.Dir}}' github.com/cosmos/cosmos-sdk)
gogo=$(go list -m -f '{{.Dir}}' github.com/cosmos/gogoproto)
cosmos=$(go list -m -f '{{.Dir}}' github.com/cosmos/cosmos-proto)
for module in ${*:-$(ls secretvm)}; do
    PATH=$bin:$PATH protoc -I . -I "$sdk/proto" -I "$cosmos/proto" -I "$gogo" -I "$gogo/protobuf" \
        --gocosmos_out=plugins=grpc,Mgoogle/protobuf/any.proto=github.com/cosmos/gogoproto/types/any:"$bin" \
        "secretvm/$module"/v1/*.proto
    mv "$bin/github.com/secretvm/secretvm/kms/chain/x/$module/types"/*.pb.go "../x/$module/types/"
done
