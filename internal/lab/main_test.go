package lab_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/remora-ha/remora/internal/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// within bounds what a test waits for; a healthy machine needs a small part of it.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func row(t *testing.T, s *lab.Server, query string) map[string]string {
	t.Helper()
	r, err := s.Row(within(t), query)
	must(t, err)
	return r
}
