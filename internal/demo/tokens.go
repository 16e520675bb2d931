package demo

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A signer makes bearer tokens that say whose they are and until when, so that nobody has to remember them. They
// are good at the target that made them, and until it ends.
type signer struct{ key [32]byte }

func newSigner() (s signer) {
	rand.Read(s.key[:]) // never fails
	return s
}

// token returns the token of a user, which is good for a time; 0 is for ever.
func (s *signer) token(user string, lifetime time.Duration) string {
	end := "0"
	if lifetime > 0 {
		end = strconv.FormatInt(time.Now().Add(lifetime).UnixNano(), 36)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(user)) + "." + end
	return text + "." + s.sign(text)
}

func (s *signer) sign(text string) string {
	mac := hmac.New(sha256.New, s.key[:])
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// user returns whose token a request bears; ok is false for none, one that is over and one of somebody else's making.
func (s *signer) user(r *http.Request) (user string, ok bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	at := strings.LastIndexByte(token, '.')
	if !strings.EqualFold(scheme, "Bearer") || at < 0 || !hmac.Equal([]byte(token[at+1:]), []byte(s.sign(token[:at]))) {
		return "", false
	}
	encoded, end, _ := strings.Cut(token[:at], ".")
	name, err := base64.RawURLEncoding.DecodeString(encoded)
	until, err2 := strconv.ParseInt(end, 36, 64)
	if err != nil || err2 != nil || until != 0 && time.Now().UnixNano() >= until {
		return "", false
	}
	return string(name), true
}

// unauthorized answers a request without a token that is good.
func unauthorized(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="demo"`)
	wrong(w, http.StatusUnauthorized, "a bearer token that is good is required")
}

// longestEmail bounds what a user makes others remember.
const longestEmail = 254

// known reports whether credentials are good. The users that user001@example.com stands for, with any number of
// digits, have the password secret-001; everybody else signs up by signing in, with any password.
func known(email, password string) bool {
	if email == "" || password == "" || len(email) > longestEmail {
		return false
	}
	name, here := strings.CutSuffix(email, "@example.com")
	digits, user := strings.CutPrefix(name, "user")
	if here && user && digits != "" && strings.Trim(digits, "0123456789") == "" {
		return password == "secret-"+digits
	}
	return true
}

// Key is the API key that a shop accepts unless RequireKey sets another.
const Key = "demo-key"

// keys say which X-API-Key a request must have; without one, all may come that are not required to have it.
type keys struct {
	key      string
	required bool
}

func (k keys) opens(r *http.Request) bool {
	sent := r.Header.Get("X-API-Key")
	if sent == "" {
		return !k.required
	}
	return hmac.Equal([]byte(sent), []byte(k.key))
}
