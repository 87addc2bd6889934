package consul

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	maxAnswer = 16 << 20 // bytes; a sane prefix has some kilobytes
	maxQuote  = 200      // bytes of an answer that an error repeats
)

// newClient makes the API's client on a transport of our own: the API would take
// what we leave out from the environment.
func newClient(cfg Config) (*api.Client, *http.Transport, error) {
	wire := &http.Transport{
		Proxy:               nil, // none of the environment: it would see the token
		DialContext:         (&net.Dialer{Timeout: cfg.Timeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: cfg.Timeout,
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     time.Minute,
	}
	scheme, rest := splitAddress(cfg.Address)
	address := rest
	secure := "http"
	switch {
	case scheme == "unix":
		wire.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", rest)
		}
		address = "localhost"
	case scheme == "https", scheme == "" && cfg.TLS != TLS{}:
		secure = "https"
		var err error
		if wire.TLSClientConfig, err = tlsConfig(cfg.TLS); err != nil {
			return nil, nil, err
		}
	}
	client, err := api.NewClient(&api.Config{
		Address:    secure + "://" + address,
		Scheme:     secure,
		Datacenter: cfg.Datacenter,
		Namespace:  cfg.Namespace,
		Partition:  cfg.Partition,
		Token:      "-", // the courier puts the right one
		HttpClient: &http.Client{Transport: &courier{wire: wire, cfg: cfg}},
	})
	if err != nil {
		return nil, nil, err
	}
	return client, wire, nil
}

func tlsConfig(t TLS) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.Insecure} //nolint:gosec // as configured
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the certificate authority: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read the certificate authority: %s holds no certificate", t.CAFile)
		}
	}
	if t.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read the client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}

// courier carries requests with what the configuration says and nothing else, and
// tells answers of Consul from others. A redirect is an error: the token must not
// follow where some server points.
type courier struct {
	wire http.RoundTripper
	cfg  Config
}

func (c *courier) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Del("X-Consul-Token")
	if c.cfg.Token != "" {
		r.Header.Set("X-Consul-Token", c.cfg.Token)
	}
	if q := r.URL.Query(); c.cfg.Namespace == "" && q.Has("ns") || c.cfg.Partition == "" && q.Has("partition") {
		if c.cfg.Namespace == "" {
			q.Del("ns")
		}
		if c.cfg.Partition == "" {
			q.Del("partition")
		}
		r.URL.RawQuery = q.Encode()
	}
	resp, err := c.wire.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	kv := r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/v1/kv/")
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound && kv, code == http.StatusOK, code == http.StatusConflict:
		if kv && resp.Header.Get("X-Consul-Index") == "" {
			defer resp.Body.Close()
			return nil, &answerError{code: code, text: "without an index: this is not Consul"}
		}
		return resp, nil
	default:
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxQuote))
		return nil, &answerError{code: code, text: strings.TrimSpace(string(text))}
	}
}

// answerError is an answer that is no success.
type answerError struct {
	code int
	text string
}

func (e *answerError) Error() string { return fmt.Sprintf("HTTP %d %q", e.code, e.text) }

// kind is the sentinel for what went wrong in a call.
func kind(err error) error {
	var answer *answerError
	var cert *tls.CertificateVerificationError
	var alert *net.OpError
	var record tls.RecordHeaderError
	var network net.Error
	var protocol textproto.ProtocolError
	switch {
	case errors.As(err, &answer):
		switch code := answer.code; {
		case code == http.StatusForbidden, code == http.StatusUnauthorized, deniedText(answer.text):
			return ErrDenied
		case code >= 500, code == http.StatusTooManyRequests:
			return ErrUnreachable
		}
		return ErrRefused
	case errors.As(err, &cert), errors.As(err, &alert) && alert.Op == "remote error":
		return ErrDenied
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &protocol), strings.Contains(err.Error(), "malformed HTTP"):
		return ErrRefused
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe), errors.As(err, &network):
		return ErrUnreachable
	default:
		return ErrRefused
	}
}

func deniedText(s string) bool {
	return strings.Contains(s, "Permission denied") || strings.Contains(s, "ACL not found")
}
