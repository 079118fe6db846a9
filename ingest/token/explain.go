package token

import "bytes"

// KeyOf returns the id of the key that a token text claims to be signed with,
// and whether the ring has that key. It does not check the claim. An empty id
// is a text that is no token.
func (r *Keyring) KeyOf(text []byte) (id string, known bool) {
	payload, _, ok := bytes.Cut(text, []byte("."))
	if !ok || len(payload) > encoding.EncodedLen(maxPayload) {
		return "", false
	}
	raw, err := encoding.AppendDecode(nil, payload)
	if err != nil {
		return "", false
	}
	id = string(keyID(raw))
	return id, r.byID[id] != nil
}
