package wire

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
)

// Secret is a password as far as it is known: in clear, or as the digests that mysql_native_password works with.
type Secret struct {
	clear string
	// stage1 is SHA1(password); stage2 is SHA1(stage1), the form in which servers keep it.
	stage1, stage2 []byte
}

// NewSecret reads a stored password: in clear, or as '*' and forty hexadecimal digits.
func NewSecret(stored string) Secret {
	if len(stored) == 41 && stored[0] == '*' {
		if stage2, err := hex.DecodeString(strings.ToLower(stored[1:])); err == nil {
			return Secret{stage2: stage2}
		}
	}
	if stored == "" {
		return Secret{}
	}
	stage1 := sha1.Sum([]byte(stored))
	stage2 := sha1.Sum(stage1[:])
	return Secret{clear: stored, stage1: stage1[:], stage2: stage2[:]}
}

// Check compares a login with the stored secret. The answer holds what the client proved to know, which is what a
// back end can be convinced with even if only the digest is stored.
func (l *Login) Check(stored Secret) (Secret, bool) {
	if stored.stage2 == nil {
		return stored, len(l.token) == 0
	}
	if len(l.token) != sha1.Size {
		return Secret{}, false
	}
	stage1 := xor(l.token, digest(l.salt, stored.stage2))
	stage2 := sha1.Sum(stage1)
	if subtle.ConstantTimeCompare(stage2[:], stored.stage2) != 1 {
		return Secret{}, false
	}
	stored.stage1 = stage1
	return stored, true
}

func (s Secret) native(salt []byte) []byte {
	if s.stage1 == nil {
		return nil
	}
	return xor(s.stage1, digest(salt, s.stage2))
}

// cachingSHA2 answers the fast path of caching_sha2_password; it needs the password in clear.
func (s Secret) cachingSHA2(salt []byte) []byte {
	if s.clear == "" {
		return nil
	}
	first := sha256.Sum256([]byte(s.clear))
	second := sha256.Sum256(first[:])
	h := sha256.New()
	h.Write(second[:])
	h.Write(salt)
	return xor(first[:], h.Sum(nil))
}

// sealed is the password for the slow path without TLS, under the server's public key.
func (s Secret) sealed(salt, key []byte) ([]byte, error) {
	block, _ := pem.Decode(key)
	if block == nil {
		return nil, fmt.Errorf("server's public key: %w", ErrProtocol)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("server's public key: %w", err)
	}
	public, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("server's public key is no RSA key: %w", ErrProtocol)
	}
	plain := append([]byte(s.clear), 0)
	for i := range plain {
		plain[i] ^= salt[i%len(salt)]
	}
	return rsa.EncryptOAEP(sha1.New(), rand.Reader, public, plain, nil)
}

func digest(salt, stage2 []byte) []byte {
	h := sha1.New()
	h.Write(salt)
	h.Write(stage2)
	return h.Sum(nil)
}

func xor(a, b []byte) []byte {
	out := make([]byte, len(a))
	for i := range a {
		out[i] = a[i] ^ b[i]
	}
	return out
}
