// Package token signs and checks the beacon tokens of adtally: the text
//
//	<base64url(payload)>.<base64url(mac)>
//
// without padding, where the payload is the protobuf message adtally.v1.Token
// and the mac is the first 16 bytes of HMAC-SHA256 over the payload's
// base64url text. Everything that bills is inside the payload; nothing of it
// is trusted before the mac matched.
//
// An ad server in Go loads the same key file as ingest and calls Sign; other
// languages find vectors in proto/testdata/tokens.json.
package token
