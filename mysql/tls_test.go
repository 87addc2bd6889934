package mysql

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remora-ha/remora/internal/lab"
	"github.com/remora-ha/remora/topology"
)

// certificate makes a self-signed one for a name, where an account of the lab can
// read it.
func certificate(t *testing.T, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	must(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o644))
	return certFile, keyFile
}

func TestTLS(t *testing.T) {
	cert, key := certificate(t, "db.example")
	other, _ := certificate(t, "db.example")
	s := alone(t, lab.ServerOptions{ExtraArgs: []string{"--ssl-cert=" + cert, "--ssl-key=" + key}})
	must(t, s.Exec(testContext(t), "ALTER USER remora@'%' REQUIRE SSL"))
	for _, c := range []struct {
		name string
		tls  TLS
		want topology.Reach
		says string
	}{
		{"off", TLS{Mode: TLSOff}, topology.Denied, "Access denied"},
		{"preferred", TLS{Mode: TLSPreferred}, topology.Answered, ""},
		{"required", TLS{Mode: TLSRequired}, topology.Answered, ""},
		{"verified", TLS{Mode: TLSVerify, CA: cert, ServerName: "db.example"}, topology.Answered, ""},
		{"verified, another name", TLS{Mode: TLSVerify, CA: cert}, topology.Denied, "x509"},
		{"verified, another authority", TLS{Mode: TLSVerify, CA: other, ServerName: "db.example"}, topology.Denied, "x509"},
	} {
		cfg := testConfig()
		cfg.TLS = c.tls
		must(t, cfg.Check())
		p, _ := prober(t, addr(s), cfg)
		if v := probeWithin(t, p, time.Second); v.Reach != c.want || !strings.Contains(v.Error, c.says) {
			t.Errorf("%s: %s: %s", c.name, v.Reach, v.Error)
		}
	}
	cfg := testConfig()
	cfg.TLS.Mode = TLSRequired
	p, broke := prober(t, addr(s), cfg)
	probeWithin(t, p, time.Second)
	must(t, s.Freeze())
	if v := probeWithin(t, p, 200*time.Millisecond); v.Reach != topology.TimedOut {
		t.Errorf("frozen: %s: %s", v.Reach, v.Error)
	}
	must(t, s.Thaw())
	probeWithin(t, p, time.Second)
	must(t, s.Kill())
	select {
	case <-broke:
	case <-time.After(testLimit):
		t.Error("onBreak never came")
	}
}

func TestTLSWhereTheServerHasNone(t *testing.T) {
	var opts lab.ServerOptions
	if lab.DefaultFlavor() == lab.MySQL {
		opts.ExtraArgs = []string{"--tls-version="} // it makes its own certificate otherwise
	}
	s := alone(t, opts)
	for mode, want := range map[string]topology.Reach{TLSPreferred: topology.Answered, TLSRequired: topology.Denied} {
		cfg := testConfig()
		cfg.TLS.Mode = mode
		p, _ := prober(t, addr(s), cfg)
		if v := probeWithin(t, p, time.Second); v.Reach != want {
			t.Errorf("%s: %s: %s", mode, v.Reach, v.Error)
		}
	}
}

func TestConfigCheck(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		says   string
	}{
		{func(*Config) {}, ""},
		{func(c *Config) { c.User = "" }, "user is empty"},
		{func(c *Config) { c.TLS.Mode = "maybe" }, "off, preferred, required or verify"},
		{func(c *Config) { c.ReplicationTLS = "maybe" }, "off or on"},
		{func(c *Config) { c.TLS = TLS{Mode: TLSRequired, Cert: "/nonexistent", Key: "/nonexistent"} }, "tls cert and key"},
	} {
		cfg := testConfig()
		c.change(&cfg)
		err := cfg.Check()
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, want %q", err, c.says)
		}
	}
}
