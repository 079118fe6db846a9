package token

import (
	"bytes"
	"crypto/hmac"
	"errors"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/adtally/adtally/proto"
)

// Version is the version of the payload that Sign writes and Verify accepts.
const Version = 1

const (
	macBytes   = 16
	macText    = 22 // base64url of 16 bytes
	maxPayload = 4096
	keyIDField = 2 // Token.key_id
)

// What Verify may answer, next to *FieldError.
var (
	// ErrSyntax is a text that is no token.
	ErrSyntax = errors.New("not a token: <base64url>.<base64url> without padding")
	// ErrSignature is a mac that no key of the ring made.
	ErrSignature = errors.New("the signature does not match")
	// ErrVersion is an authentic token of a version that is not known here.
	ErrVersion = errors.New("the token version is not known")
)

// Sign appends the token text of t to dst and returns it. It sets the version
// and the key id of t and does not check the rest: see Validate.
func (r *Keyring) Sign(dst []byte, t *proto.Token) []byte {
	t.Version, t.KeyId = Version, r.current.id
	payload := make([]byte, t.SizeVT())
	n, err := t.MarshalToSizedBufferVT(payload)
	if err != nil || n != len(payload) {
		panic("BUG: the size of a token and its encoding differ")
	}
	start := len(dst)
	dst = encoding.AppendEncode(dst, payload)
	m := r.current.sign(dst[start:])
	dst = append(dst, '.')
	dst = encoding.AppendEncode(dst, m.sum[:macBytes])
	r.current.put(m)
	return dst
}

// Verify checks a token text and decodes it into dst, which keeps no reference
// to text. Errors are ErrSyntax, ErrSignature, ErrVersion or a *FieldError;
// after an error dst holds nothing to be used.
func (r *Keyring) Verify(dst *proto.Token, text []byte) error {
	_, err := r.VerifyInto(dst, nil, text)
	return err
}

// VerifyInto is Verify without allocation: it decodes the payload into buf,
// growing it if needed, and returns it. The texts in dst point into the
// returned bytes and live only as long as the caller leaves those alone.
func (r *Keyring) VerifyInto(dst *proto.Token, buf, text []byte) ([]byte, error) {
	dot := bytes.IndexByte(text, '.')
	if dot <= 0 || dot > encoding.EncodedLen(maxPayload) {
		return buf, ErrSyntax
	}
	buf = slices.Grow(buf[:0], encoding.DecodedLen(dot))[:encoding.DecodedLen(dot)]
	n, err := encoding.Decode(buf, text[:dot])
	if err != nil || n != len(buf) { // shorter: the decoder skips line breaks
		return buf, ErrSyntax
	}
	if !r.signed(keyID(buf), text[:dot], text[dot+1:]) {
		return buf, ErrSignature
	}
	dst.Reset()
	if err := dst.UnmarshalVTUnsafe(buf); err != nil {
		return buf, ErrSyntax
	}
	if dst.Version != Version {
		return buf, ErrVersion
	}
	return buf, Validate(dst)
}

// signed reports whether sig is the mac of text under the key named id. It
// does the same work for a key that is not there.
func (r *Keyring) signed(id, text, sig []byte) bool {
	key := r.byID[string(id)]
	known := key != nil
	if !known {
		key = r.decoy
	}
	var given [macBytes]byte
	if len(sig) != macText {
		sig = sig[:0]
	}
	n, err := encoding.Decode(given[:], sig)
	m := key.sign(text)
	defer key.put(m)
	match := hmac.Equal(given[:], m.sum[:macBytes])
	return match && known && err == nil && n == macBytes
}

// keyID finds the key id in a payload that is not yet authentic: the bytes of
// its first field 2, or nil.
func keyID(payload []byte) []byte {
	for len(payload) > 0 {
		num, typ, n := protowire.ConsumeTag(payload)
		if n < 0 {
			return nil
		}
		payload = payload[n:]
		if num == keyIDField && typ == protowire.BytesType {
			id, n := protowire.ConsumeBytes(payload)
			if n < 0 {
				return nil
			}
			return id
		}
		n = protowire.ConsumeFieldValue(num, typ, payload)
		if n < 0 {
			return nil
		}
		payload = payload[n:]
	}
	return nil
}
