package topology

import (
	"encoding/json"
	"net"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseAddr(t *testing.T) {
	tests := []struct{ in, want string }{
		{"db-1", "db-1:3306"},
		{"DB-1.Example.org:3307", "db-1.example.org:3307"},
		{"10.0.0.1", "10.0.0.1:3306"},
		{"[::1]:3307", "[::1]:3307"},
		{"::1", "[::1]:3306"},
		{"[::1]", "[::1]:3306"},
	}
	for _, tt := range tests {
		if got, err := ParseAddr(tt.in); err != nil || string(got) != tt.want {
			t.Errorf("ParseAddr(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
		}
	}
	for _, bad := range []string{"", ":3306", "a:0", "a:65536", "a:x", "a b:1", "a';--:1", "-a:1", "a:1:2", "a\n:1"} {
		if got, err := ParseAddr(bad); err == nil {
			t.Errorf("ParseAddr(%q) = %q, want an error", bad, got)
		}
	}
}

// A host's name is what this pattern says; it is not used, for thousands of addresses are read in a second.
func TestAHostIsWhatThePatternSays(t *testing.T) {
	pattern := regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$`)
	rapid.Check(t, func(rt *rapid.T) {
		host := rapid.StringOfN(rapid.RuneFrom([]rune("aZ09._-:; \n\u00e9")), 0, 4, -1).Draw(rt, "host")
		if want := pattern.MatchString(host) || net.ParseIP(host) != nil; isHost(host) != want {
			rt.Fatalf("%q is a host: %t, want %t", host, !want, want)
		}
	})
}

func TestAddrParts(t *testing.T) {
	a := MustParseAddr("[::1]:3307")
	if a.Host() != "::1" || a.Port() != 3307 {
		t.Errorf("%q has host %q and port %d", a, a.Host(), a.Port())
	}
	if zero := Addr(""); zero.Host() != "" || zero.Port() != 0 {
		t.Error("the zero address has parts")
	}
}

func TestAddrFromJSON(t *testing.T) {
	var a []Addr
	if err := json.Unmarshal([]byte(`["Db-1", ""]`), &a); err != nil || a[0] != "db-1:3306" || a[1] != "" {
		t.Errorf("%q, %v", a, err)
	}
	if err := json.Unmarshal([]byte(`["a b"]`), &a); err == nil {
		t.Error("a bad address is read")
	}
}

// FuzzParseAddr holds what statements rely on: an address that is accepted needs
// no quoting, and reading it again gives the same.
func FuzzParseAddr(f *testing.F) {
	for _, seed := range []string{"a", "a:1", "[::1]:2", "a'b", "fe80::1%eth0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddr(s)
		if err != nil {
			return
		}
		if strings.ContainsAny(string(a), "'\"`\\ ;\n\x00") {
			t.Errorf("%q needs quoting", a)
		}
		if again, err := ParseAddr(string(a)); err != nil || again != a {
			t.Errorf("%q is read again as %q, %v", a, again, err)
		}
	})
}

func TestJoinAndSortAddrs(t *testing.T) {
	sorted := SortAddrs([]Addr{"c:1", "", "a:1", "b:1", "a:1"})
	for n, want := range []string{"none", "a:1", "a:1 and b:1", "a:1, b:1 and c:1"} {
		if got := JoinAddrs(sorted[:n]); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestDurationText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Duration(rapid.Int64Min(0).Draw(t, "d"))
		text, err := d.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var again Duration
		if err := again.UnmarshalText(text); err != nil || again != d {
			t.Fatalf("%s is read as %s, %v", text, again, err)
		}
	})
	for _, bad := range []string{"", "5", "-1s", "soon"} {
		var d Duration
		if err := d.UnmarshalText([]byte(bad)); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
