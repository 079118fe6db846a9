package query

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/adtally/adtally/internal/access"
	"github.com/adtally/adtally/query/problems"
)

const (
	sessionCookie = "adtally_session"
	sessionLength = 12 * time.Hour
	maxKeyText    = 512
)

// sessions seal the key with which a person signed in to the dashboard into a
// cookie: scripts cannot read it, it means nothing to other servers, and no
// state is kept here.
type sessions struct{ aead cipher.AEAD }

// newSessions derives the sealing key from the server's secret.
func newSessions(secret []byte) *sessions {
	key := sha256.Sum256(append([]byte("adtally session v1:"), secret...))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("BUG: the key has 32 bytes: " + err.Error())
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("BUG: AES has GCM: " + err.Error())
	}
	return &sessions{aead: aead}
}

func (s *sessions) seal(bearer string, expires time.Time) string {
	plain := binary.BigEndian.AppendUint64(nil, uint64(expires.Unix()))
	sealed := s.aead.Seal(nil, nil, append(plain, bearer...), nil) //nolint:gosec // the nonce is made by the AEAD itself
	return base64.RawURLEncoding.EncodeToString(sealed)
}

// bearer returns the key of a request that a page of this server made. Whether
// one did is said by the browser (Fetch Metadata), and not by SameSite alone, to
// which another port of the host is the same site.
func (s *sessions) bearer(r *http.Request) (string, bool) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil || !sameOrigin(r) {
		return "", false
	}
	sealed, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil {
		return "", false
	}
	plain, err := s.aead.Open(nil, nil, sealed, nil)
	if err != nil || len(plain) < 8 || time.Now().Unix() >= int64(binary.BigEndian.Uint64(plain)) {
		return "", false
	}
	return string(plain[8:]), true
}

func sameOrigin(r *http.Request) bool { return r.Header.Get("Sec-Fetch-Site") == "same-origin" }

func setSession(w http.ResponseWriter, r *http.Request, value string, age int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever there is TLS; on loopback there is none
		Name: sessionCookie, Value: value, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	})
}

// signIn takes {"key":"…"} and answers with a cookie.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	if !sameOrigin(r) {
		problems.New(http.StatusForbidden, "cross_origin", "Only a page of this server may sign in; programs send Authorization: Bearer <key>.").
			Write(w, requestIDOf(w))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxKeyText))
	if err != nil {
		bodyProblem(err).Write(w, requestIDOf(w))
		return
	}
	var given struct{ Key string }
	if err := json.Unmarshal(body, &given); err != nil || given.Key == "" {
		problems.Field("key", "missing_field", `A body {"key":"…"} is wanted.`).Write(w, requestIDOf(w))
		return
	}
	if _, problem := s.grantOf(r, given.Key); problem != nil {
		problem.Write(w, requestIDOf(w))
		return
	}
	setSession(w, r, s.sessions.seal(given.Key, time.Now().Add(sessionLength)), int(sessionLength.Seconds()))
	w.WriteHeader(http.StatusNoContent)
}

// signOut forgets the cookie.
func (s *Server) signOut(w http.ResponseWriter, r *http.Request) {
	setSession(w, r, "", -1)
	w.WriteHeader(http.StatusNoContent)
}

// identity is who a key is, for the dashboard.
type identity struct {
	Key struct {
		ID     string   `json:"id"`
		Name   string   `json:"name"`
		Scopes []string `json:"scopes"`
	} `json:"key"`
	// All says that the key also covers advertisers that are not listed.
	All         bool             `json:"all"`
	Advertisers []advertiserInfo `json:"advertisers"`
	// BeaconURL is where beacons are taken, empty if that is not known here.
	BeaconURL string `json:"beacon_url"`
}

type advertiserInfo struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Currency string `json:"currency"`
	Timezone string `json:"timezone"`
}

func (s *Server) getSession(w http.ResponseWriter, _ *http.Request, grant access.Grant) {
	who := identity{All: grant.All, Advertisers: []advertiserInfo{}, BeaconURL: s.cfg.BeaconURL}
	who.Key.ID, who.Key.Name, who.Key.Scopes = grant.KeyID, grant.Name, grant.Scopes.Names()
	accounts := s.keys.Accounts()
	if !grant.All {
		accounts = accounts[:0:0]
		for _, id := range grant.Advertisers {
			accounts = append(accounts, s.keys.Account(id))
		}
	}
	for _, a := range accounts {
		who.Advertisers = append(who.Advertisers, advertiserInfo{
			ID: strconv.FormatUint(a.Advertiser, 10), Name: a.Name, Currency: a.Currency, Timezone: a.Timezone,
		})
	}
	writeJSONValue(w, who)
}

// grantOf looks a key up.
func (s *Server) grantOf(r *http.Request, bearer string) (access.Grant, *problems.Problem) {
	grant, err := s.keys.Lookup(r.Context(), bearer)
	switch {
	case err == nil:
		return grant, nil
	case errors.Is(err, access.ErrUnknownKey):
		return access.Grant{}, problems.New(http.StatusUnauthorized, "unknown_key", "The API key is unknown or revoked.")
	default:
		return access.Grant{}, problems.New(http.StatusServiceUnavailable, "starting", "API keys are not known yet.").Retry(1)
	}
}
