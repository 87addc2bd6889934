package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/remora-ha/remora/doctor"
)

// reportOf is an examination with one finding of each severity.
func reportOf(severities ...doctor.Severity) doctor.Report {
	r := doctor.Report{Node: "r1", Clusters: []string{"main"}, Servers: 3, Sidecars: 3, Checks: 40, Findings: []doctor.Finding{}}
	for _, s := range severities {
		r.Findings = append(r.Findings, doctor.Finding{Check: "check_" + string(s), Severity: s, Cluster: "main", Where: "db2:3306",
			Sentence: "it is " + string(s), Why: "Because of " + string(s) + ".", Mend: "mend " + string(s)})
	}
	return r
}

// ailing can be mended by a statement.
func ailing() doctor.Report {
	r := reportOf(doctor.Warning)
	r.Findings[0].Fix = &doctor.Fix{Cluster: "main", Server: "db2:3306", Settings: []doctor.Setting{{How: doctor.Persist, Name: "sync_binlog", Value: "1"}}}
	return r
}

func TestDoctor(t *testing.T) {
	well, mended := reportOf(), ailing()
	mended.Findings = nil
	for name, c := range map[string]struct {
		reports []doctor.Report
		args    string
		in      string
		asks    bool
		code    int
		texts   []string
		mends   int
	}{
		"well":                  {reports: []doctor.Report{well}, args: "doctor main", code: exitOK, texts: []string{"well: 0 errors", "3 servers"}},
		"advice":                {reports: []doctor.Report{reportOf(doctor.Advice)}, args: "doctor", code: exitOK, texts: []string{"well:", "it is advice"}},
		"an error":              {reports: []doctor.Report{reportOf(doctor.Error, doctor.Unknown)}, args: "doctor", code: exitUnhealthy, texts: []string{"not well", "SEVERITY", "Because of error.", "db2:3306: mend error"}},
		"a warning":             {reports: []doctor.Report{reportOf(doctor.Warning)}, args: "doctor --json", code: exitUnhealthy, texts: []string{`"severity": "warning"`}},
		"unchecked":             {reports: []doctor.Report{reportOf(doctor.Unknown, doctor.Advice)}, args: "doctor", code: exitUnchecked, texts: []string{"not all could be checked"}},
		"two arguments":         {reports: []doctor.Report{well}, args: "doctor a b", code: exitError, texts: []string{"usage: remora doctor [CLUSTER]"}},
		"fix without terminal":  {reports: []doctor.Report{ailing()}, args: "doctor --fix", code: exitRefused, texts: []string{"SET PERSIST sync_binlog = 1", "add --yes"}},
		"fix is declined":       {reports: []doctor.Report{ailing()}, args: "doctor --fix", asks: true, in: "\n", code: exitRefused, texts: []string{"[y/N]", "nothing was done"}},
		"fix is confirmed":      {reports: []doctor.Report{ailing(), mended}, args: "doctor --fix", asks: true, in: "y\n", code: exitOK, texts: []string{"✓ db2:3306: SET PERSIST sync_binlog = 1", "well: 0 errors"}, mends: 1},
		"fix of a script":       {reports: []doctor.Report{ailing(), mended}, args: "doctor --fix --yes --json", code: exitOK, texts: []string{`"results": [`}, mends: 1},
		"fix that leaves some":  {reports: []doctor.Report{ailing(), reportOf(doctor.Error)}, args: "doctor --fix --yes", code: exitUnhealthy, texts: []string{"not well"}, mends: 1},
		"nothing to fix":        {reports: []doctor.Report{reportOf(doctor.Error)}, args: "doctor --fix --yes", code: exitUnhealthy, texts: []string{"nothing of it can be mended without a person"}},
		"without --fix nothing": {reports: []doctor.Report{ailing()}, args: "doctor --yes", code: exitUnhealthy, texts: []string{"(--fix does it)"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := leading()
			n.reports = c.reports
			o := cli{in: c.in, asks: c.asks, transport: wire{"r1": n.handler()}, env: map[string]string{"REMORA_NODES": "http://r1"}}.run(t, strings.Fields(c.args)...)
			o.want(t, c.code, c.texts...)
			if len(n.mends) != c.mends {
				t.Errorf("it was asked to mend %d times: %v", len(n.mends), n.mends)
			}
			for _, m := range n.mends {
				if m.By != "alice" || len(m.Fixes) != 1 || !m.Fixes[0].Same(*ailing().Findings[0].Fix) {
					t.Errorf("it was asked to mend %+v", m)
				}
			}
			if strings.Contains(c.args, "--json") {
				var r doctor.Report
				if err := json.Unmarshal([]byte(o.out), &r); err != nil || r.Node != "r1" {
					t.Errorf("no report but %q: %v", o.out, err)
				}
			}
			if strings.Contains(o.out, "\x1b") {
				t.Error("colour without a terminal")
			}
		})
	}
}

// Where the answer to --fix is lost nobody knows what was sent.
func TestAMendingInDoubt(t *testing.T) {
	n := leading()
	n.reports = []doctor.Report{ailing()}
	w := wire{"r1": losing(1, n.handler())}
	o := cli{transport: w, env: map[string]string{"REMORA_NODES": "http://r1"}}.run(t, "doctor", "--fix", "--yes")
	o.want(t, exitUnknown, "some statements may have been sent")
	if len(n.mends) != 1 {
		t.Errorf("asked %d times", len(n.mends))
	}
}
