package topology

import (
	"fmt"
	"strings"
	"time"
)

// Render draws the tree as text, one instance a line, as orchestrator-client's
// topology does:
//
//	a:3306     [-,ok,10.11.6-MariaDB,rw,ROW,>>,GTID,semi:source(1)]
//	+ b:3306   [0s,ok,10.11.6-MariaDB,ro,ROW,>>,GTID,semi:replica]
//	  - c:3306 [unknown,nonreplicating,10.11.6-MariaDB,ro,ROW,>>,GTID]
//
// A replica's "+" says that both of its threads run, "-" that they do not. The
// brackets hold lag, status, version, rw or ro, the binary log's format, ">>"
// where replicated writes are logged, GTID where it positions by it, and the part
// it plays in semi-sync.
func Render(roots []*Node) string {
	var b strings.Builder
	for _, l := range lines(roots) {
		b.WriteString(l + "\n")
	}
	return b.String()
}

// Lines is the tree of a snapshot, drawn as Render does, a line each.
func Lines(s *Snapshot) []string { return lines(Tree(s)) }

func lines(roots []*Node) []string {
	type line struct{ name, facts string }
	var list []line
	width := 0
	for _, root := range roots {
		root.Depth(func(n *Node, depth int) {
			name := string(n.Addr)
			if depth > 0 {
				name = strings.Repeat("  ", depth-1) + n.mark() + " " + name
			}
			width = max(width, len(name))
			list = append(list, line{name, n.facts()})
		})
	}
	text := make([]string, len(list))
	for i, l := range list {
		text[i] = fmt.Sprintf("%-*s [%s]", width, l.name, l.facts)
	}
	return text
}

func (n *Node) mark() string {
	if n.Instance.Fresh() && n.Channel != nil && n.Channel.IO == ThreadYes && n.Channel.SQL == ThreadYes {
		return "+"
	}
	return "-"
}

func (n *Node) facts() string {
	if n.Instance == nil {
		return "not of this cluster"
	}
	words := []string{n.lag(), n.status()}
	if st := n.Instance.State; st != nil {
		words = append(words, st.Version, st.access())
		words = append(words, st.logging()...)
		if src := st.Source(); src != nil && src.GTID || src == nil && st.GTIDMode == "ON" {
			words = append(words, "GTID")
		}
		if semi := st.SemiSync.words(); semi != "" {
			words = append(words, semi)
		}
	}
	if n.Ring {
		words = append(words, "co-primary")
	}
	return strings.Join(words, ",")
}

func (n *Node) lag() string {
	src := n.Instance.State.Source()
	switch {
	case n.Instance.State == nil:
		return "unknown"
	case src == nil:
		return "-"
	case src.Lag == nil:
		return "unknown"
	default:
		return src.Lag.D().Round(time.Second).String()
	}
}

func (n *Node) status() string {
	st := n.Instance.State
	if n.Instance.Reach == Up && st.IsReplica() {
		for _, src := range st.Sources {
			if src.IO != ThreadYes || src.SQL != ThreadYes {
				return "nonreplicating"
			}
		}
	}
	if n.Instance.Reach == Up {
		return "ok"
	}
	return string(n.Instance.Reach)
}

func (s *State) access() string {
	if s.Writable() {
		return "rw"
	}
	return "ro"
}

func (s *State) logging() []string {
	if !s.LogBin {
		return []string{"nobinlog"}
	}
	words := []string{s.BinlogFormat}
	if s.LogReplicaUpdates {
		words = append(words, ">>")
	}
	return words
}

func (s SemiSync) words() string {
	switch {
	case s.SourceEnabled:
		return fmt.Sprintf("semi:source(%d)", s.WaitCount)
	case s.ReplicaEnabled:
		return "semi:replica"
	default:
		return ""
	}
}
