package token

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"sync"
)

const (
	minSecret = 32
	maxKeyID  = 64
)

// Key is one signing key as it lies in a key file.
type Key struct {
	// ID names the key inside tokens: 1 to 64 letters, digits, '.', '_' or '-'.
	ID string `json:"id"`
	// Secret is at least 32 random bytes; standard base64 in the file.
	Secret []byte `json:"secret"`
}

// Keyring holds the keys under which tokens are valid and the one that signs
// new tokens. It never changes after it was made, so any number of goroutines
// may use one; to rotate keys, load the file again and swap the pointer.
type Keyring struct {
	keys    []Key
	current *signer
	byID    map[string]*signer
	// decoy checks tokens of unknown keys, so that their refusal takes as long
	// as that of a wrong mac.
	decoy *signer
}

type signer struct {
	id   string
	macs sync.Pool // *mac; a mac in use belongs to one goroutine
}

// mac is a keyed hash that is ready for the next message, and its result.
type mac struct {
	hash hash.Hash
	sum  [sha256.Size]byte
}

// keyFile is the JSON of a key file.
type keyFile struct {
	Current string `json:"current"`
	Keys    []Key  `json:"keys"`
}

// NewKeyring returns a keyring that signs with the key named current and
// accepts tokens of all keys. It keeps the secrets' slices.
func NewKeyring(current string, keys []Key) (*Keyring, error) {
	ring := &Keyring{keys: keys, byID: make(map[string]*signer, len(keys))}
	for _, k := range keys {
		if !validKeyID(k.ID) {
			return nil, fmt.Errorf("key id %q: use 1 to %d letters, digits, '.', '_' or '-'", k.ID, maxKeyID)
		}
		if len(k.Secret) < minSecret {
			return nil, fmt.Errorf("key %s: the secret has %d bytes, it needs at least %d", k.ID, len(k.Secret), minSecret)
		}
		if ring.byID[k.ID] != nil {
			return nil, fmt.Errorf("key %s is given twice", k.ID)
		}
		ring.byID[k.ID] = newSigner(k.ID, k.Secret)
	}
	ring.current = ring.byID[current]
	if ring.current == nil {
		return nil, fmt.Errorf("the current key %q is not among the keys", current)
	}
	ring.decoy = newSigner("", randomBytes(minSecret))
	return ring, nil
}

// LoadKeyring reads a key file:
//
//	{"current":"k1","keys":[{"id":"k1","secret":"<base64 of at least 32 bytes>"}]}
func LoadKeyring(path string) (*Keyring, error) {
	text, err := os.ReadFile(path) // #nosec G304 -- the operator names the file
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	ring, err := parseKeyring(text)
	if err != nil {
		return nil, fmt.Errorf("read signing keys %s: %w", path, err)
	}
	return ring, nil
}

// CreateKeyring makes a key file with one new random key, readable by its
// owner only, and returns its keyring. An existing file is left as it is and
// is an error (fs.ErrExist).
func CreateKeyring(path string) (*Keyring, error) {
	ring, err := NewKeyring("k1", []Key{{ID: "k1", Secret: randomBytes(minSecret)}})
	if err != nil {
		return nil, err
	}
	if err := ring.writeFile(path); err != nil {
		return nil, fmt.Errorf("write signing keys: %w", err)
	}
	return ring, nil
}

// CurrentID returns the id of the key that signs new tokens.
func (r *Keyring) CurrentID() string { return r.current.id }

func parseKeyring(text []byte) (*Keyring, error) {
	var file keyFile
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more text after the JSON object")
	}
	return NewKeyring(file.Current, file.Keys)
}

// writeFile writes beside path and links the whole file to its name, so that a
// crash never leaves half a key file and an existing one is never replaced.
func (r *Keyring) writeFile(path string) (err error) {
	text, err := json.MarshalIndent(keyFile{Current: r.current.id, Keys: r.keys}, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".keys-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(tmp.Name())) }()
	_, err = tmp.Write(append(text, '\n'))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Link(tmp.Name(), path)
}

func newSigner(id string, secret []byte) *signer {
	s := &signer{id: id}
	s.macs.New = func() any { return &mac{hash: hmac.New(sha256.New, secret)} }
	return s
}

// sign returns the mac of text; put it back when its sum has been used.
func (s *signer) sign(text []byte) *mac {
	m, ok := s.macs.Get().(*mac)
	if !ok {
		panic("BUG: foreign value in the pool of macs")
	}
	m.hash.Reset()
	m.hash.Write(text)
	m.hash.Sum(m.sum[:0])
	return m
}

func (s *signer) put(m *mac) { s.macs.Put(m) }

func validKeyID(id string) bool {
	if id == "" || len(id) > maxKeyID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if !isAlnum(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return b
}

var encoding = base64.RawURLEncoding.Strict()
