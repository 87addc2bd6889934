package failover

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/remora-ha/remora/topology"
)

// Occasion is what a hook is told: a recovery as far as it has come. For
// [OnDetection] it is the one that the finding calls for.
type Occasion struct {
	Hook     HookPoint
	Node     string // the leader, which runs the hook
	Recovery Recovery
	// Downtimed says that the failed primary is excused; Automatic that the policy
	// lets Remora fail over by itself.
	Downtimed, Automatic bool
	// Lost are the replicas that do not follow the new primary.
	Lost []topology.Addr
	// Position is the GTID set of the new primary.
	Position string
}

// OccasionOf puts together what a hook of a recovery is told, by the case as it
// is now.
func OccasionOf(c *Case, p HookPoint, r *Recovery, node string) Occasion {
	f := newFacts(c)
	o := Occasion{
		Hook: p, Node: node, Recovery: *r,
		Downtimed: f.downtime(r.Intent.From) != nil, Automatic: f.p.Failover == Automatic,
	}
	to := o.successor()
	if to == "" {
		return o
	}
	if i := f.s.Instance(to); i != nil && i.State != nil {
		o.Position = i.State.Executed.String()
	}
	if r.Outcome == Succeeded {
		for _, a := range r.Intent.Replicas {
			if a != to && !f.s.Under(a, to) {
				o.Lost = append(o.Lost, a)
			}
		}
	}
	return o
}

// Detected is the recovery of an [Occasion] before any has begun: what a finding
// calls for.
func Detected(c *Case, x Finding) Recovery {
	f := newFacts(c)
	return Recovery{Intent: Intent{
		ID: f.newID(), Cluster: f.s.Cluster, Kind: x.Recovery, From: x.Instance, Reason: x.Sentence, Code: x.Code,
		Evidence: x.Evidence, Replicas: f.replicas(x.Instance), At: f.s.Taken,
	}}
}

// Rehearse makes up what a hook would be told if the cluster was failed or
// switched over now, to the best candidate there is.
func Rehearse(c *Case, p HookPoint, node string) Occasion {
	kind := KindFailover
	if p == BeforeSwitchover || p == AfterSwitchover {
		kind = KindSwitchover
	}
	f := newFacts(c)
	rec := Detected(c, Finding{Code: "DeadMaster", Instance: f.primary, Recovery: kind, Sentence: "this is a rehearsal: nothing has happened"})
	ch := f.choose(f.wish())
	if ch.best != nil {
		rec.Intent.To = ch.best.addr()
	}
	switch p {
	case AfterFailover, AfterSwitchover:
		rec.Outcome, rec.To, rec.Intent.Epoch = Succeeded, rec.Intent.To, f.s.Route.Epoch+1
	case OnFailure:
		rec.Outcome, rec.Error = Aborted, "this is a rehearsal: nothing has failed"
	}
	o := OccasionOf(c, p, &rec, node)
	o.Lost = nil // they follow the old primary still
	return o
}

// replicas are the addresses of who, by its last reading, replicates from a.
func (f *facts) replicas(a topology.Addr) []topology.Addr {
	var list []topology.Addr
	for _, r := range f.replicasOf(a) {
		list = append(list, r.Addr)
	}
	return list
}

// successor is who is, or is to be, the new primary; "" where nobody is.
func (o *Occasion) successor() topology.Addr {
	switch {
	case o.Hook == BeforeFailover || o.Hook == BeforeSwitchover:
		return o.Recovery.Intent.To
	case o.Recovery.Outcome == Succeeded:
		return o.Recovery.To
	default:
		return ""
	}
}

// placeholder is one thing that a hook may be told, as {name} in its command and
// as a variable of its environment.
type placeholder struct {
	name  string
	own   bool // Remora's; the others, and the spelling of all, are orchestrator's
	value func(o *Occasion) string
}

// placeholders are all that there are. Where Remora knows nothing that
// orchestrator means, the value is empty.
var placeholders = []placeholder{
	{"failureType", false, func(o *Occasion) string {
		if o.Recovery.Intent.Code == "" {
			return "DeadMaster" // what orchestrator says where an operator asked
		}
		return string(o.Recovery.Intent.Code)
	}},
	{"instanceType", false, func(o *Occasion) string {
		if o.coPrimary() {
			return "co-master"
		}
		return "master"
	}},
	{"isMaster", false, func(o *Occasion) string { return strconv.FormatBool(!o.coPrimary()) }},
	{"isCoMaster", false, func(o *Occasion) string { return strconv.FormatBool(o.coPrimary()) }},
	{"failureDescription", false, func(o *Occasion) string { return o.Recovery.Intent.Reason }},
	{"command", false, func(o *Occasion) string {
		switch in := &o.Recovery.Intent; {
		case in.Kind == KindSwitchover:
			return "graceful-master-takeover"
		case in.Forced && in.Chosen:
			return "force-master-takeover"
		case in.Forced:
			return "force-master-failover"
		default:
			return ""
		}
	}},
	{"failedHost", false, func(o *Occasion) string { return host(o.Recovery.Intent.From) }},
	{"failedPort", false, func(o *Occasion) string { return port(o.Recovery.Intent.From) }},
	{"failureCluster", false, func(o *Occasion) string { return string(o.Recovery.Intent.From) }},
	{"failureClusterAlias", false, func(o *Occasion) string { return o.Recovery.Intent.Cluster }},
	{"failureClusterDomain", false, func(*Occasion) string { return "" }},
	{"countReplicas", false, func(o *Occasion) string { return strconv.Itoa(len(o.Recovery.Intent.Replicas)) }},
	{"replicaHosts", false, func(o *Occasion) string { return commas(o.Recovery.Intent.Replicas) }},
	{"isDowntimed", false, func(o *Occasion) string { return strconv.FormatBool(o.Downtimed) }},
	{"autoMasterRecovery", false, func(o *Occasion) string { return strconv.FormatBool(o.Automatic) }},
	{"autoIntermediateMasterRecovery", false, func(*Occasion) string { return "true" }}, // a repair, always on
	{"orchestratorHost", false, func(o *Occasion) string { return o.Node }},
	{"recoveryUID", false, func(o *Occasion) string { return o.Recovery.Intent.ID }},
	{"isSuccessful", false, func(o *Occasion) string { return strconv.FormatBool(o.Recovery.Outcome == Succeeded) }},
	{"successorHost", false, func(o *Occasion) string { return host(o.successor()) }},
	{"successorPort", false, func(o *Occasion) string { return port(o.successor()) }},
	{"successorAlias", false, func(o *Occasion) string { return host(o.successor()) }},
	{"successorBinlogCoordinates", false, func(o *Occasion) string { return o.Position }},
	{"lostReplicas", false, func(o *Occasion) string { return commas(o.Lost) }},
	{"countLostReplicas", false, func(o *Occasion) string { return strconv.Itoa(len(o.Lost)) }},

	{"hook", true, func(o *Occasion) string { return string(o.Hook) }},
	{"kind", true, func(o *Occasion) string { return string(o.Recovery.Intent.Kind) }},
	{"epoch", true, func(o *Occasion) string {
		if o.Recovery.Intent.Epoch == 0 {
			return "" // nothing is committed yet
		}
		return strconv.FormatUint(o.Recovery.Intent.Epoch, 10)
	}},
	{"outcome", true, func(o *Occasion) string { return string(o.Recovery.Outcome) }},
	{"error", true, func(o *Occasion) string { return o.Recovery.Error }},
	{"askedBy", true, func(o *Occasion) string { return o.Recovery.Intent.By }},
}

// olderNames are orchestrator's former spellings, which its hooks still use.
var olderNames = map[string]string{"countSlaves": "countReplicas", "slaveHosts": "replicaHosts", "lostSlaves": "lostReplicas"}

func (o *Occasion) coPrimary() bool {
	return strings.HasPrefix(string(o.Recovery.Intent.Code), "DeadCoMaster")
}

// Expand replaces the placeholders of a command. The values are made harmless
// to the shell wherever they stand, in quotes of any kind or in none: what is not
// a letter, a digit, a space or one of _ . , : / @ % + = - becomes _. The
// environment has them as they are.
func (o *Occasion) Expand(command string) string {
	return braces.ReplaceAllStringFunc(command, func(word string) string {
		if p := findPlaceholder(word[strings.IndexByte(word, '{')+1 : len(word)-1]); p != nil && word[0] == '{' {
			return harmless(p.bounded(o))
		}
		return word
	})
}

// Environment lists NAME=value: ORC_… as orchestrator does, then REMORA_…
func (o *Occasion) Environment() []string {
	var env []string
	for _, p := range placeholders {
		env = append(env, p.variable()+"="+strings.ReplaceAll(p.bounded(o), "\x00", "_"))
	}
	return env
}

// valueLimit bounds one value, in bytes. Linux starts no program with an argument or a
// variable of more than 128 KiB, and a command may hold several values.
const valueLimit = 16 << 10

// bounded is the value, with its end cut off where that is too long for a program to
// be started with: a GTID set has no bound.
func (p *placeholder) bounded(o *Occasion) string {
	v := p.value(o)
	if len(v) <= valueLimit {
		return v
	}
	return strings.ToValidUTF8(v[:valueLimit-len("...")], "") + "..."
}

// variable spells failedHost as ORC_FAILED_HOST.
func (p *placeholder) variable() string {
	prefix := "ORC_"
	if p.own {
		prefix = "REMORA_"
	}
	return prefix + strings.ToUpper(wordEnd.ReplaceAllString(p.name, "${1}_${2}"))
}

var (
	wordEnd = regexp.MustCompile(`([a-z])([A-Z])`)
	// braces are placeholders, and the shell's own variables, which are left alone.
	braces    = regexp.MustCompile(`\$?\{[A-Za-z]\w*\}`)
	harmful   = regexp.MustCompile(`[^A-Za-z0-9 _.,:/@%+=-]`)
	dashFirst = regexp.MustCompile(`(^| )-`)
)

// harmless is a value without what a shell, or a program's option parser, takes
// for more than text.
func harmless(value string) string {
	return dashFirst.ReplaceAllString(harmful.ReplaceAllString(value, "_"), "${1}_")
}

func findPlaceholder(name string) *placeholder {
	if newer := olderNames[name]; newer != "" {
		name = newer
	}
	for i := range placeholders {
		if placeholders[i].name == name {
			return &placeholders[i]
		}
	}
	return nil
}

func unknownPlaceholders(command string) []string {
	var unknown []string
	for _, word := range braces.FindAllString(command, -1) {
		if name := strings.Trim(word, "{}"); word[0] == '{' && findPlaceholder(name) == nil {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

func placeholderList() string {
	names := make([]string, len(placeholders))
	for i, p := range placeholders {
		names[i] = "{" + p.name + "}"
	}
	return strings.Join(names, " ")
}

func host(a topology.Addr) string {
	if a == "" {
		return ""
	}
	return a.Host()
}

func port(a topology.Addr) string {
	if a == "" {
		return ""
	}
	return fmt.Sprint(a.Port())
}

func commas(list []topology.Addr) string {
	words := make([]string, len(list))
	for i, a := range list {
		words[i] = string(a)
	}
	return strings.Join(words, ",")
}
