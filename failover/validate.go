package failover

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Validate checks a policy. The error joins one line for each bad value, with
// its key path, the value, and what is allowed.
func (p *Policy) Validate() error {
	var errs []error
	bad := func(key string, value any, allowed string) {
		errs = append(errs, fmt.Errorf("%s: %v is not allowed, want %s", key, value, allowed))
	}
	positive := func(key string, d Duration) {
		if d <= 0 {
			bad(key, d, "more than 0s")
		}
	}
	det := p.Detection
	positive("detection.interval", det.Interval)
	positive("detection.timeout", det.Timeout)
	positive("detection.heartbeat", det.Heartbeat)
	if det.Timeouts < 1 {
		bad("detection.timeouts", det.Timeouts, "at least 1")
	}
	if det.Beats < 1 {
		bad("detection.beats", det.Beats, "at least 1: between two heartbeats silence means nothing")
	}
	if least := det.Interval + det.Timeout; det.Fresh < least {
		bad("detection.fresh", det.Fresh, fmt.Sprintf("at least detection.interval + detection.timeout (%s), or a slow answer is never fresh", least))
	}
	oneOf(bad, "failover", p.Failover, Automatic, Manual)
	oneOf(bad, "data_center.cross", p.DataCenter.Cross, Allow, LastResort, Forbid)
	oneOf(bad, "data_center.cross_region", p.DataCenter.CrossRegion, Allow, LastResort, Forbid)
	oneOf(bad, "lag.when_all", p.Lag.WhenAll, WhenAllWait, WhenAllFail, WhenAllPromote)
	oneOf(bad, "durability", p.Durability, Async, SemiSync)
	oneOf(bad, "semi_sync.blocked", p.SemiSync.Blocked, BlockedWait, BlockedDegrade)
	positive("semi_sync.timeout", Duration(p.SemiSync.Timeout))
	positive("semi_sync.patience", p.SemiSync.Patience)
	oneOf(bad, "gtid", p.GTID, GTIDStrict, GTIDLastExecuted, GTIDDeclarative)
	oneOf(bad, "errant", p.Errant, ErrantRefuse, ErrantTolerate, ErrantInject)
	oneOf(bad, "on_lease_loss", p.OnLeaseLoss, LeaseLossFence, LeaseLossHold)
	oneOf(bad, "rejoin", p.Rejoin, RejoinAuto, RejoinManual, RejoinClone)
	p.Clone.validate(bad)
	p.Repair.validate(bad)
	oneOf(bad, "readers.writer", p.Readers.Writer, WriterNever, WriterFallback, WriterAlways)
	notNegative := func(key string, d Duration) {
		if d < 0 {
			bad(key, d, "at least 0s")
		}
	}
	notNegative("anti_flap", p.AntiFlap)
	notNegative("lag.max", p.Lag.Max)
	notNegative("switchover.max_lag", p.Switchover.MaxLag)
	notNegative("switchover.drain", p.Switchover.Drain)
	positive("lag.wait", p.Lag.Wait)
	positive("switchover.timeout", p.Switchover.Timeout)
	positive("readers.max_lag", p.Readers.MaxLag)
	if p.Switchover.Timeout > 0 && p.Switchover.Drain >= p.Switchover.Timeout {
		bad("switchover.drain", p.Switchover.Drain, fmt.Sprintf("less than switchover.timeout (%s), or no time is left to switch", p.Switchover.Timeout))
	}
	if p.WaitCount < 1 {
		bad("wait_count", p.WaitCount, "at least 1")
	}
	for i, s := range p.Servers {
		s.validate(fmt.Sprintf("servers[%d].", i), bad)
	}
	p.Hooks.validate(bad)
	return errors.Join(errs...)
}

func (s *ServerRule) validate(at string, bad func(key string, value any, allowed string)) {
	if _, err := path.Match(s.Match, ""); err != nil || s.Match == "" {
		bad(at+"match", fmt.Sprintf("%q", s.Match), "a shell pattern of host or host:port, such as db-*.example.org")
	}
	oneOf(bad, at+"promotion", s.Promotion, "", Must, Prefer, Neutral, PreferNot, MustNot)
	if s.Weight < 0 {
		bad(at+"weight", s.Weight, "at least 1, or nothing")
	}
}

// oneOf checks a word; an allowed empty word is not named.
func oneOf[T ~string](bad func(key string, value any, allowed string), key string, value T, allowed ...T) {
	if slices.Contains(allowed, value) {
		return
	}
	var words []string
	for _, a := range allowed {
		if a != "" {
			words = append(words, string(a))
		}
	}
	bad(key, fmt.Sprintf("%q", string(value)), strings.Join(words, ", "))
}
