package lab

import (
	"context"
	"os"
	"strings"
)

// TB is what ForTest needs of a *testing.T or *testing.B.
type TB interface {
	Helper()
	Cleanup(f func())
	Failed() bool
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
	Skipf(format string, args ...any)
}

// NetworkForTest skips a test that needs a Network where the caller may not make one, and says so. With
// REMORA_LAB=required it fails where only packages are missing.
func NetworkForTest(t TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("NOT RUN: %v", ErrNoNetwork)
	}
	ns, err := newNamespace()
	if err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	_ = ns.file.Close()
	if missing := MissingForNetwork(); len(missing) > 0 {
		if os.Getenv("REMORA_LAB") == "required" {
			t.Fatalf("NOT RUN: it needs the Debian packages %s", strings.Join(missing, ", "))
		}
		t.Skipf("NOT RUN: it needs the Debian packages %s", strings.Join(missing, ", "))
	}
}

// ForTest makes a lab that is closed at the end of a test, also of one that is interrupted by a signal. When the test
// has failed, the ends of all logs are printed first. Where the default flavor's server is missing the test is skipped, and
// says what it needs; with REMORA_LAB=required in the environment it fails instead.
func ForTest(t TB, opts Options) *Lab {
	t.Helper()
	missing := ""
	if packages := Missing(); len(packages) > 0 {
		missing = "the Debian packages " + strings.Join(packages, ", ")
	} else if engine, err := engineOf(""); err != nil {
		missing = "another REMORA_FLAVOR: " + err.Error()
	} else if _, err := engine.program(); err != nil {
		missing = "a server: " + err.Error()
	}
	if missing != "" {
		if os.Getenv("REMORA_LAB") == "required" {
			t.Fatalf("NOT RUN: it needs %s", missing)
		}
		t.Skipf("NOT RUN: it needs %s", missing)
	}
	if opts.Logf == nil {
		opts.Logf = t.Logf
	}
	l, err := New(context.Background(), opts)
	if err != nil {
		t.Fatalf("%v", err)
	}
	stop := l.OnSignal()
	t.Cleanup(func() {
		if t.Failed() {
			for _, p := range l.Processes() {
				t.Logf("%s", p.LogTail(15))
			}
		}
		err := l.Close()
		stop() // only now: a signal for other labs must not end the process before this one is gone
		if err != nil {
			t.Fatalf("close the lab: %v", err)
		}
	})
	return l
}
