package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/remora-ha/remora/failover"
	"github.com/remora-ha/remora/topology"
)

// answers makes a server that answers the same to everything.
func answers(t *testing.T, status int, kind, body string) *httptest.Server {
	return serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if kind != "" {
			w.Header().Set("Content-Type", kind)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
}

func TestNonsenseIsAnErrorThatSaysWhatWasAskedOfWhom(t *testing.T) {
	const json = "application/json"
	for name, tc := range map[string]struct {
		status     int
		kind, body string
		status2    string // what Status says, after the method and the address
		ack        string // what Acknowledge says, likewise; empty: nothing
	}{
		"a web page": {
			200, "text/html", "<html>Welcome</html>",
			`the answer is not JSON but "text/html"; is this Remora's API?`, "status 200 OK where Remora answers 204; is this its API?",
		},
		"half an answer": {
			200, json, `{"node": "n`,
			"the answer is not what this version understands: unexpected end of JSON input", "status 200 OK where Remora answers 204; is this its API?",
		},
		"another type": {
			200, json, `{"node": 5}`,
			"the answer is not what this version understands: json: cannot unmarshal number into Go struct field Status.node of type string", "status 200 OK where Remora answers 204; is this its API?",
		},
		"nothing": {204, "", "", `the answer is not JSON but ""; is this Remora's API?`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := answers(t, tc.status, tc.kind, tc.body)
			c := client(t, s, "hunter2")
			_, err := c.Status(t.Context())
			wantText(t, err, "GET "+s.URL+"/v1/status: "+tc.status2)
			want := ""
			if tc.ack != "" {
				want = "POST " + s.URL + "/v1/clusters/main/acknowledge: " + tc.ack
			}
			wantText(t, c.Acknowledge(t.Context(), "main", AcknowledgeRequest{}), want)
		})
	}
}

func TestAnErrorWithoutASentenceIsGivenOne(t *testing.T) {
	for _, tc := range []struct {
		status           int
		kind, body, want string
	}{
		{500, "", "", "GET /v1/status: status 500 Internal Server Error, and no sentence in the answer"},
		{502, "text/html", "<html>Bad Gateway</html>", "GET /v1/status: status 502 Bad Gateway, and no sentence in the answer"},
		{503, "application/json", `{"error": ""}`, "GET /v1/status: status 503 Service Unavailable, and no sentence in the answer"},
		{500, "application/json", `{"error": {"code": 7}, "refusals": []}`, "GET /v1/status: status 500 Internal Server Error, and no sentence in the answer"},
		{404, "application/json", `["error"]`, "GET /v1/status: status 404 Not Found, and no sentence in the answer"},
		{500, "application/json", `{"error": "the disk is full"}`, "the disk is full"},
	} {
		s := answers(t, tc.status, tc.kind, tc.body)
		_, err := client(t, s, "").Status(t.Context())
		wantText(t, err, s.URL+": "+tc.want)
		var answer *Error
		if !errors.As(err, &answer) || answer.Status != tc.status {
			t.Errorf("%v does not know its status", err)
		}
	}
}

func TestAServerThatHangsIsLeftInTime(t *testing.T) {
	for name, header := range map[string]bool{"before its answer": false, "in its answer": true} {
		t.Run(name, func(t *testing.T) {
			s := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if header {
					_, _ = io.WriteString(w, `{"node":`)
					_ = http.NewResponseController(w).Flush()
				}
				<-r.Context().Done()
			}))
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			began := time.Now()
			_, err := client(t, s, "").Status(ctx)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
			want := "GET " + s.URL + "/v1/status: context deadline exceeded"
			if header {
				want = "GET " + s.URL + "/v1/status: reading the answer: context deadline exceeded"
			}
			wantText(t, err, want)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v is not known as a deadline", err)
			}
		})
	}
}

func TestAConnectionThatBreaks(t *testing.T) {
	for name, tc := range map[string]struct{ said, want string }{
		"at once":         {"", "EOF"},
		"in the header":   {"HTTP/1.1 200 OK\r\nContent-Ty", "transport connection broken: malformed MIME header"},
		"in the body":     {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "reading the answer: unexpected EOF"},
		"in no HTTP":      {"5.5.5-10.11.14-MariaDB\r\n\r\n", "malformed HTTP"},
		"in its encoding": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "reading the answer: invalid byte in chunk length"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := says(t, tc.said)
			transport := &http.Transport{DisableKeepAlives: true}
			_, err := NewClient(addr, "hunter2", transport).Status(t.Context())
			if err == nil || !strings.HasPrefix(err.Error(), "GET http://"+addr+"/v1/status: ") || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %s", err, tc.want)
			}
		})
	}
}

// says listens and says the same to each connection after its request, then closes it.
func says(t *testing.T, text string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096)) // the request fits
			_, _ = io.WriteString(conn, text)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return l.Addr().String()
}

func TestNobodyListens(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	_, err := client(t, s, "").Status(t.Context())
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "dial" || !strings.HasPrefix(err.Error(), "GET "+s.URL+"/v1/status: dial tcp ") {
		t.Errorf("%v", err)
	}
}

func TestAnEndlessAnswerIsCutOff(t *testing.T) {
	s := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for chunk := []byte(strings.Repeat(" ", 1<<20)); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	_, err := client(t, s, "").Status(t.Context())
	wantText(t, err, "GET "+s.URL+"/v1/status: the answer is longer than 64 MiB")
}

func TestTheAddressMayBeAURL(t *testing.T) {
	n := leading()
	s := serve(t, n, "")
	for _, base := range []string{s.URL, s.URL + "/", strings.TrimPrefix(s.URL, "http://")} {
		transport := &http.Transport{DisableKeepAlives: true}
		if _, err := NewClient(base, "", transport).Status(t.Context()); err != nil {
			t.Errorf("%s: %v", base, err)
		}
	}
}

func TestNoErrorOfTheClientShowsASecret(t *testing.T) {
	bad := answers(t, 500, "", "")
	addr := strings.TrimPrefix(bad.URL, "http://")
	for name, c := range map[string]*Client{
		"a token with a line break": NewClient(addr, "hunter2\nx", &http.Transport{DisableKeepAlives: true}),
		"a password in the address": NewClient("http://u:hunter2@"+addr, "", &http.Transport{DisableKeepAlives: true}),
		"nobody listens":            NewClient("http://u:hunter2@127.0.0.1:1", "hunter2", &http.Transport{DisableKeepAlives: true}),
		"no such scheme":            NewClient("ftp://u:hunter2@"+addr, "hunter2", &http.Transport{DisableKeepAlives: true}),
		"no URL":                    NewClient("http://u:hunter2@%zz", "hunter2", nil),
	} {
		_, err := c.Recover(t.Context(), "main", RecoveryRequest{Request: failover.Request{Kind: failover.KindFailover}})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func wantText(t *testing.T, err error, want string) {
	t.Helper()
	have := ""
	if err != nil {
		have = err.Error()
	}
	if have != want {
		t.Errorf("%s\nwant %s", have, want)
	}
}

// Confirmed views arrive as they were told, to the microsecond; what is cut short is an error.
func TestConfirmedViewsTravelAsOneText(t *testing.T) {
	for _, c := range []Confirmed{
		nil,
		{{Instance: "a:3306", Age: 0}},
		{{Instance: "a:3306", Age: 1500 * time.Microsecond}, {Instance: "[::1]:3306", Age: time.Hour}},
	} {
		raw, err := json.Marshal(Heartbeat{Node: "n1", Again: c})
		if err != nil {
			t.Fatal(err)
		}
		var h Heartbeat
		if err := json.Unmarshal(raw, &h); err != nil || !slices.Equal(h.Again, c) {
			t.Errorf("%v travels as %s and arrives as %v: %v", c, raw, h.Again, err)
		}
	}
	if text, _ := (Confirmed{{Instance: "a:3306", Age: -time.Second}}).MarshalText(); string(text) != "a:3306 0 " {
		t.Errorf("what will be read is told as %q", text)
	}
	for _, text := range []string{"a:3306", "a:3306 ", "a:3306 5", "a:3306 x ", "a:3306 -5 ", "a:3306 5 b:3306 ", "a:3306 9223372036854775807 "} {
		if err := new(Confirmed).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for confirmed views", text)
		}
	}
}

// What thousands of views say alike is in memory once, from whomever it came.
func TestViewsShareTheirTexts(t *testing.T) {
	var views []topology.View
	for range 2 {
		var h Heartbeat
		err := json.Unmarshal([]byte(`{"views":[{"instance":"b:3306","state":{"version":"8.4.3","replicas":["c:3306"],"sources":[{"addr":"a:3306"}]}}]}`), &h)
		if err != nil {
			t.Fatal(err)
		}
		h.shareTexts()
		views = append(views, h.Views[0].View)
	}
	texts := func(v topology.View) []string {
		return []string{string(v.Instance), v.State.Version, string(v.State.Replicas[0]), string(v.State.Sources[0].Addr)}
	}
	for i, a := range texts(views[0]) {
		if b := texts(views[1])[i]; a == "" || a != b || unsafe.StringData(a) != unsafe.StringData(b) {
			t.Errorf("%q and %q are two texts", a, b)
		}
	}
}
