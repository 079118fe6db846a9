package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// A key is adtally_<id>_<secret>: the id is 60 random bits in base32 and names
// the key in lists and logs, the secret is 256 random bits in base64url.
const (
	keyPrefix    = "adtally_"
	keyIDLen     = 12
	keySecretLen = 43
	keyLen       = len(keyPrefix) + keyIDLen + 1 + keySecretLen
)

const keyIDAlphabet = "abcdefghijklmnopqrstuvwxyz234567"

var (
	keyIDEncoding     = base32.NewEncoding(keyIDAlphabet).WithPadding(base32.NoPadding)
	keySecretEncoding = base64.RawURLEncoding.Strict()
)

// newKeyText returns a fresh key.
func newKeyText() string {
	var random [8 + 32]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the process instead
	id := keyIDEncoding.EncodeToString(random[:8])[:keyIDLen]
	return keyPrefix + id + "_" + keySecretEncoding.EncodeToString(random[8:])
}

// parseKeyText returns the id of a key text, or false if it is no key text.
func parseKeyText(text string) (id string, ok bool) {
	if len(text) != keyLen || !strings.HasPrefix(text, keyPrefix) {
		return "", false
	}
	id, secret := text[len(keyPrefix):len(keyPrefix)+keyIDLen], text[keyLen-keySecretLen:]
	if strings.Trim(id, keyIDAlphabet) != "" || text[keyLen-keySecretLen-1] != '_' {
		return "", false
	}
	if _, err := keySecretEncoding.DecodeString(secret); err != nil {
		return "", false
	}
	return id, true
}

// hashKeyText returns what is stored of a key. A plain SHA-256 is enough: 256
// random bits cannot be guessed, so there is nothing that a slow hash protects.
func hashKeyText(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// sameHash compares in constant time.
func sameHash(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
