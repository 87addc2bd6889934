package consul

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type netipAddr = netip.Addr

func addrsOf(list ...string) []netip.Addr {
	var addrs []netip.Addr
	for _, s := range list {
		addrs = append(addrs, netip.MustParseAddr(s))
	}
	return addrs
}

// answer is a server that says one thing.
func answer(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func say(code int, header, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if name, value, ok := strings.Cut(header, ": "); ok {
			w.Header().Set(name, value)
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

const indexed = "X-Consul-Index: 5"

func TestBadAnswers(t *testing.T) {
	empty := say(http.StatusNotFound, indexed, "")
	txn := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/txn" {
				h(w, r)
				return
			}
			empty(w, r)
		}
	}
	hangUp := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, _ := http.NewResponseController(w).Hijack()
		_ = conn.Close()
	}
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		want  error
		says  string
	}{
		"a web page":            {say(200, indexed, "<html>"), ErrRefused, "invalid character"},
		"not Consul":            {say(404, "", "404 page not found"), ErrRefused, "this is not Consul"},
		"half an answer":        {say(200, indexed, `[{"Key": "mysql/master/main"`), ErrUnreachable, "unexpected EOF"},
		"a key of null":         {say(200, indexed, `[null]`), ErrRefused, "without an index"},
		"another type":          {say(200, indexed, `{"Key": 1}`), ErrRefused, "cannot unmarshal"},
		"too much":              {say(200, indexed, `["`+strings.Repeat("x", maxAnswer)+`"]`), ErrRefused, "too large"},
		"no leader":             {say(500, "", "No cluster leader"), ErrUnreachable, `HTTP 500 "No cluster leader"`},
		"a gateway's error":     {say(503, "", strings.Repeat("x", 10_000)), ErrUnreachable, "HTTP 503"},
		"rate limited":          {say(429, "", ""), ErrUnreachable, "HTTP 429"},
		"a bad request":         {say(400, "", "Invalid query parameter"), ErrRefused, "Invalid query parameter"},
		"denied":                {say(403, "", "Permission denied"), ErrDenied, "Permission denied"},
		"hangs up":              {hangUp, ErrUnreachable, "EOF"},
		"sends elsewhere":       {say(302, "Location: http://127.0.0.1:1/", ""), ErrRefused, "HTTP 302"},
		"txn: null":             {txn(say(200, "", "null")), ErrRefused, "0 results came back"},
		"txn: a web page":       {txn(say(200, "", "<html>")), ErrRefused, "invalid character"},
		"txn: no leader":        {txn(say(500, "", "No cluster leader")), ErrUnreachable, "No cluster leader"},
		"txn: rolled back":      {txn(say(409, "", `{"Errors":[{"OpIndex":2,"What":"value is too large"}]}`)), ErrRefused, "value is too large"},
		"txn: without a reason": {txn(say(409, "", `{"Errors":[null]}`)), ErrRefused, "HTTP 409"},
		"txn: always outrun":    {txn(say(409, "", `{"Errors":[{"OpIndex":0,"What":"failed to set key, index is stale"}]}`)), ErrConflict, "others keep writing"},
		"txn: denied":           {txn(say(409, "", `{"Errors":[{"OpIndex":0,"What":"Permission denied: index"}]}`)), ErrDenied, "Permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			p := publisher(t, Config{Address: answer(t, c.serve), Token: "the-secret"})
			_, err := p.Publish(within(t), open(7, "db1:3306"))
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "the-secret") || len(err.Error()) > 600 {
				t.Errorf("want %v with %q, got %v", c.want, c.says, err)
			}
		})
	}
}

func TestNoHTTPAtAll(t *testing.T) {
	for name, c := range map[string]struct {
		says string
		want error
	}{"garbage": {"SSH-2.0-OpenSSH\r\n\r\n", ErrRefused}, "silence": {"", ErrUnreachable}} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					defer conn.Close()
					// After the question: to what comes before it, net/http has other words.
					_, _ = conn.Read(make([]byte, 1))
					_, _ = io.WriteString(conn, c.says)
				}
			}()
			t.Cleanup(func() { l.Close(); <-ended })
			p := publisher(t, Config{Address: l.Addr().String(), Timeout: 200 * time.Millisecond})
			if _, err = p.Publish(within(t), open(7, "db1:3306")); !errors.Is(err, c.want) {
				t.Errorf("want %v, got %v", c.want, err)
			}
		})
	}
}

func TestNothingComesFromTheEnvironment(t *testing.T) {
	for _, name := range []string{"TOKEN", "TOKEN_FILE", "AUTH"} {
		t.Setenv("CONSUL_HTTP_"+name, "leaked")
	}
	t.Setenv("CONSUL_HTTP_ADDR", "127.0.0.1:1")
	t.Setenv("CONSUL_HTTP_SSL", "true")
	t.Setenv("CONSUL_NAMESPACE", "leaked")
	t.Setenv("CONSUL_PARTITION", "leaked")
	t.Setenv("CONSUL_CACERT", "/leaked")
	for _, cfg := range []Config{{}, {Token: "mine", Namespace: "team", Partition: "p1", Datacenter: "dc2"}} {
		var seen []string
		cfg.Address = answer(t, func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			seen = append(seen, strings.Join([]string{r.Header.Get("X-Consul-Token"), r.Header.Get("Authorization"), q.Get("ns"), q.Get("partition"), q.Get("dc")}, ","))
			say(http.StatusNotFound, indexed, "")(w, r)
		})
		p := publisher(t, cfg)
		if _, err := p.Show(within(t), open(7, "db1:3306")); err != nil {
			t.Error(err)
		}
		want := strings.Join([]string{cfg.Token, "", cfg.Namespace, cfg.Partition, cfg.Datacenter}, ",")
		if len(seen) == 0 {
			t.Error("nothing was asked")
		}
		for _, s := range seen {
			if s != want {
				t.Errorf("sent %q, want %q", s, want)
			}
		}
	}
}

// A proxy of the environment would see the token.
func TestNoProxy(t *testing.T) {
	_, wire, err := newClient(Config{Address: "consul.example:8500"})
	if err != nil || wire.Proxy != nil {
		t.Errorf("the transport asks for a proxy; %v", err)
	}
}

// authority signs certificates into files of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func sign(t *testing.T, by *authority, name string) (certFile, keyFile string, made *authority) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	parent, signer := template, key
	if by == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	} else {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return certFile, keyFile, &authority{cert, key, certFile}
}

func TestTLS(t *testing.T) {
	_, _, ca := sign(t, nil, "ca")
	_, _, otherCA := sign(t, nil, "other ca")
	serverCert, serverKey, _ := sign(t, ca, "consul.internal")
	clientCert, clientKey, _ := sign(t, ca, "remora")
	wrongCert, wrongKey, _ := sign(t, otherCA, "stranger")
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	s := httptest.NewUnstartedServer(say(http.StatusNotFound, indexed, ""))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	addr := s.Listener.Addr().String()
	good := TLS{CAFile: ca.file, CertFile: clientCert, KeyFile: clientKey, ServerName: "consul.internal"}
	for name, c := range map[string]struct {
		cfg  Config
		want error
	}{
		"all is well":         {Config{Address: "https://" + addr, TLS: good}, nil},
		"without a scheme":    {Config{Address: addr, TLS: good}, nil},
		"unverified":          {Config{Address: addr, TLS: TLS{Insecure: true, CertFile: clientCert, KeyFile: clientKey}}, nil},
		"another name":        {Config{Address: addr, TLS: TLS{CAFile: ca.file, CertFile: clientCert, KeyFile: clientKey}}, ErrDenied},
		"another authority":   {Config{Address: addr, TLS: TLS{CAFile: otherCA.file, CertFile: clientCert, KeyFile: clientKey, ServerName: "consul.internal"}}, ErrDenied},
		"no certificate":      {Config{Address: addr, TLS: TLS{CAFile: ca.file, ServerName: "consul.internal"}}, ErrDenied},
		"a wrong certificate": {Config{Address: addr, TLS: TLS{CAFile: ca.file, CertFile: wrongCert, KeyFile: wrongKey, ServerName: "consul.internal"}}, ErrDenied},
		"no TLS":              {Config{Address: addr}, ErrRefused},
		"TLS where none is":   {Config{Address: "https://" + answer(t, say(200, "", ""))}, ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			p := publisher(t, c.cfg)
			if _, err := p.Show(within(t), open(7, "db1:3306")); !errors.Is(err, c.want) {
				t.Errorf("want %v, got %v", c.want, err)
			}
		})
	}
}

func TestAUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consul.sock")
	l, err := net.Listen("unix", path)
	must(t, err)
	s := httptest.NewUnstartedServer(say(http.StatusNotFound, indexed, ""))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	if _, err := publisher(t, Config{Address: "unix://" + path}).Show(within(t), open(7, "db1:3306")); err != nil {
		t.Error(err)
	}
}

func TestBadConfigurations(t *testing.T) {
	certFile, _, _ := sign(t, nil, "ca")
	nothing := filepath.Join(t.TempDir(), "nothing.pem")
	must(t, os.WriteFile(nothing, []byte("no certificate"), 0o600))
	for want, cfg := range map[string]Config{
		"no address":             {},
		"want host:port":         {Address: "ftp://a"},
		"names no host":          {Address: "https://"},
		"use an ACL token":       {Address: "http://user:pass@a:8500"},
		"which is not https":     {Address: "http://a:8500", TLS: TLS{Insecure: true}},
		"both its file":          {Address: "a:8500", TLS: TLS{CertFile: certFile}},
		"a negative time":        {Address: "a:8500", Timeout: -1},
		"single slashes":         {Address: "a:8500", Prefix: "a//b"},
		"certificate authority:": {Address: "a:8500", TLS: TLS{CAFile: "/does/not/exist"}},
		"holds no certificate":   {Address: "a:8500", TLS: TLS{CAFile: nothing}},
		"client certificate:":    {Address: "a:8500", TLS: TLS{CertFile: certFile, KeyFile: nothing}},
	} {
		p, err := New(cfg)
		if err == nil {
			p.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pass@") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	p, err := New(Config{Address: "a:8500", Prefix: "/my/own/"})
	must(t, err)
	defer p.Close()
	if got := p.cfg.prefix(); got != "my/own" {
		t.Errorf("the prefix is %q", got)
	}
}

func TestNamesDoNotHoldUpAPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newResolver()
		down := false
		var asked atomic.Int32
		r.lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			if host == "db1" || host == "db2" {
				asked.Add(1)
			}
			if down {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return addrsOf("fd00::2", "::ffff:10.0.0.9", "10.0.0.2", "fd00::1"), nil
		}
		want := ips{v4: "10.0.0.2", v6: "fd00::1", known: true}
		if got := r.resolve(t.Context(), open(1, "db1:3306")); got != want {
			t.Errorf("got %v", got)
		}
		_ = r.resolve(t.Context(), open(1, "db1:3306"))
		if n := asked.Load(); n != 2 {
			t.Errorf("%d questions, want one a host", n)
		}
		<-time.After(2 * resolveAge) // virtual
		down = true
		begin := time.Now()
		if got := r.resolve(t.Context(), open(2, "db2:3306")); got != want {
			t.Errorf("the new primary, a reader before, has %v", got)
		}
		if took := time.Since(begin); took > resolveTime {
			t.Errorf("it took %v", took)
		}
		if got := r.resolve(t.Context(), open(2, "db9:3306")); got.known {
			t.Errorf("an unknown host has %v", got)
		}
		if got := r.resolve(t.Context(), open(2, "[fd00::7]:3306")); got != (ips{v6: "fd00::7", known: true}) {
			t.Errorf("an address has %v", got)
		}
	})
}
