#!/bin/sh
# Regenerates kms/chain/x/kms/types/*.pb.go from the .proto files here. Needs
# protoc (Debian: protobuf-compiler) and Go; run through `go generate ./kms/chain/...`.
set -eu
cd "$(dirname "$0")"
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
GOBIN=$bin go install github.com/cosmos/gogoproto/protoc-gen-gocosmos@v1.7.2
sdk=$(go list -m -f '{{.Dir}}' github.com/cosmos/cosmos-sdk)
gogo=$(go list -m -f '{{.Dir}}' github.com/cosmos/gogoproto)
PATH=$bin:$PATH protoc -I . -I "$sdk/proto" -I "$gogo" -I "$gogo/protobuf" \
    --gocosmos_out=plugins=grpc,Mgoogle/protobuf/any.proto=github.com/cosmos/gogoproto/types/any:"$bin" \
    secretvm/kms/v1/*.proto
mv "$bin"/github.com/secretvm/secretvm/kms/chain/x/kms/types/*.pb.go ../x/kms/types/
