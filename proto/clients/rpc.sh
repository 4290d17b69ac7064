#!/bin/sh
# SPDX-License-Identifier: MIT
# One call of any method, with nothing but protoc and nngcat (Debian: protobuf-compiler, nng-utils).
# Requests and answers are protobuf's text format. For a look at a node; programs take a client.
#
#   sh proto/clients/rpc.sh HOST:PORT KvService/Put PutRequest PutResponse \
#       'operation { kind: OPERATION_KIND_PUT key: "apple" value: "red" op_id: "0123456789abcdef" }'
#   sh proto/clients/rpc.sh HOST:PORT KvService/Get GetRequest GetResponse 'key: "apple"'
#
# Exit code 1: the node did not answer within 5 s, or with another code than OK; the envelope is
# shown then. A ring with a key refuses it: there is no MAC here.
set -eu

if [ $# -ne 5 ]; then
    sed -n '3,13s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

message() { # encode|decode TYPE
    (cd "$root" && protoc -I . "--$1=chord.v1.$2" chord/v1/*.proto)
}

payload=$(printf '%s' "$5" | message encode "$3" | od -An -v -tx1 | tr -d ' \n' | sed 's/../\\x&/g')
id=$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')
printf 'protocol_version: 1 method: "chord.v1.%s" request_id: "%s" payload: "%s"' "$2" "$id" "$payload" |
    message encode RpcRequest >"$work/request"
nngcat --req --dial "tcp://$1" --recv-timeout 5 --raw --file "$work/request" >"$work/answer" 2>/dev/null || true
if [ ! -s "$work/answer" ]; then
    echo "rpc.sh: $1 does not answer" >&2
    exit 1
fi
message decode RpcResponse <"$work/answer" >"$work/envelope"
if grep -q '^code:' "$work/envelope"; then # OK is 0, which is not written
    cat "$work/envelope" >&2
    exit 1
fi
# The payload stands in the text with protobuf's escapes; printf knows them but for the quotes'.
escaped=$(sed -n 's/^payload: "\(.*\)"$/\1/p' "$work/envelope" | sed "s/%/%%/g; s/\\\\'/'/g; s/\\\\\"/\"/g")
# shellcheck disable=SC2059
printf "$escaped" | message decode "$4"
