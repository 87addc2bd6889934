package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

// forwardedHeader marks a request that a follower passed on, so that two nodes
// which each take the other for the leader do not play ball with it.
const forwardedHeader = "X-Remora-Forwarded-By"

// onLeader passes the request to the leader unless this node leads.
func (s *server) onLeader(local http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, here := s.node.Leader(); here {
			local(w, r)
			return
		}
		s.forward(w, r, func(err error) { s.fail(w, r, err) })
	}
}

// orLocally is onLeader for what a follower can answer when it must: also when
// the leader is there and says nothing.
func (s *server) orLocally(patience time.Duration, local http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, here := s.node.Leader(); here {
			local(w, r)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		s.forward(w, r.WithContext(ctx), func(error) { local(w, r) })
	}
}

// forward proxies to the leader; failed is called when nothing was answered yet.
func (s *server) forward(w http.ResponseWriter, r *http.Request, failed func(error)) {
	base, _ := s.node.Leader()
	if base == "" {
		failed(fmt.Errorf("%w is known to %s; a majority of the sidecars must reach each other, see `remora status`", ErrNoLeader, s.node.Name()))
		return
	}
	if by := r.Header.Get(forwardedHeader); by != "" {
		failed(fmt.Errorf("%w: %s passed this on to %s, which does not lead either (an election is going on); try again", ErrNoLeader, by, s.node.Name()))
		return
	}
	target, err := url.Parse(base)
	if err != nil {
		failed(fmt.Errorf("%w: the leader's API address %q: %w", ErrNoLeader, base, err))
		return
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Header.Set(forwardedHeader, s.node.Name())
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) {
			failed(fmt.Errorf("%w: %s did not get an answer from the leader at %s: %w", ErrNoLeader, s.node.Name(), base, err))
		},
		Transport: s.toLeader,
		ErrorLog:  slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	proxy.ServeHTTP(w, r)
}
